# Every target makes .venv from the hashed lock when it is missing or out of date; only git, make and Python are needed.

BIN := .venv/bin
READY := .venv/.ready
UV := uv==0.13.9

COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' build/lock/bin/uv pip compile pyproject.toml --quiet \
	--no-config --universal --generate-hashes --no-emit-index-url

# The newest Python that runs (a pyenv shim may exist and not run) and that has what the server needs.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, sqlite3; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)

# Pull in your own words: make demo ARGS=--once, make test ARGS='tests/protocol -x', make serve ARGS='--port 9000'.
ARGS ?=

# Tests start the server and its commands hundreds of times: compiled anew, each would take half as long again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-crm check static format lint types layers fuzz vectors chaos bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## the whole story on this machine: server, CRM, identity provider (ARGS=--once prints it and exits)
	@$(BIN)/scim-server demo $(ARGS)

serve: $(READY) ## the server, on 127.0.0.1:8080 and SQLite unless SCIM_* says otherwise
	@$(BIN)/scim-server serve $(ARGS)

test: $(READY) ## all tests, on SQLite, a real Postgres and a real Redis (ARGS: what to give to pytest)
	$(BIN)/pytest --numprocesses=2 --dist=loadfile $(ARGS)

test-crm: $(READY) ## the guards in Node, PHP and Java, MariaDB and a Django CRM (Debian; installs what they need)
	tests/crm/prepare.sh
	$(BIN)/pytest -m crm tests/guards tests/cli tests/crm $(ARGS)

check: static test ## what must be green before a commit lands: format, lint, types, architecture, all tests

static: format lint types layers ## the checks that run no test, in seconds

format lint types layers: $(READY)

format:
	$(BIN)/ruff format --check .

lint:
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

layers:
	$(BIN)/lint-imports

fuzz: $(READY) ## the property tests, with 10,000 examples each
	$(BIN)/pytest -m hypothesis --hypothesis-profile=fuzz --timeout=0 $(ARGS)

vectors: $(READY) ## published cases of filters, paths and PATCH against the protocol (ARGS: the folder that has them)
	SCIM_VECTORS=$(ARGS) $(BIN)/pytest -m vectors tests/protocol/test_published_cases.py -q

chaos: $(READY) ## the tests that kill, freeze and restart things, many rounds
	SCIM_CHAOS_ROUNDS=$${SCIM_CHAOS_ROUNDS:-240} $(BIN)/pytest -m chaos --timeout=0 $(ARGS)

bench: $(READY) ## the published figures, measured here
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(ARGS)

# Existing pins stay; `make lock ARGS=--upgrade` moves them. The image installs the second file: the first one's subset.
lock: .venv/bin/python ## resolve pyproject.toml again into requirements.lock (ARGS=--upgrade: newest versions)
	$(BIN)/python -m venv build/lock
	build/lock/bin/python -m pip install --quiet $(UV)
	$(COMPILE) --all-extras --output-file requirements.lock $(ARGS)
	$(COMPILE) --extra build --extra mysql --constraint requirements.lock --no-annotate --output-file requirements-server.lock

clean: ## remove .venv, build output and caches (not your databases)
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed: apt install python3 python3-venv' >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(PYTHON) -m venv --clear .venv; \
	elif command -v virtualenv >/dev/null; then virtualenv --quiet --clear --python=$(PYTHON) .venv; \
	else echo '$(PYTHON) cannot make a virtual environment: apt install python3-venv' >&2; exit 1; fi
