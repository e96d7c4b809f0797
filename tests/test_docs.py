"""The documentation, held to the code: what can be set, called, received or measured is documented with its default,
and what is documented exists. Links lead somewhere, TOML examples are configurations that the server takes.
"""

import ast
import base64
import inspect
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from packaging.requirements import Requirement
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scim_server import metrics
from scim_server.cli import app
from scim_server.events.model import EVENTS, Event, Snapshot
from scim_server.events.subject import Template
from scim_server.guard import TABLES
from scim_server.protocol import errors
from scim_server.protocol.errors import ScimError
from scim_server.protocol.quirks import catalogue
from scim_server.sessions import presets
from scim_server.sessions.config import PythonSettings, RedisSettings, SqlSettings, StoreSettings, WebhookSettings
from scim_server.sessions.redis_values import ENCODINGS
from scim_server.sessions.signing import signed_headers, signing_key
from scim_server.settings import PREFIX, Settings
from scim_server.usecases.access import SCOPES
from scim_server.usecases.options import OPTIONS, TenantOptions

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
SECRET = "whsec_" + base64.b64encode(b"ABC" * 8).decode()  # letters only: it also stands for a password in an address

# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN = [
    "py" + "pi.org",
    "pythonhosted" + ".org",
    "npm" + "js.org",
    "docker" + ".io",
    "ghcr" + ".io",
    "/wo" + "rk/",
    "/tm" + "p/",
    "/op" + "t/pypi",
    "/ro" + "ot/",
]
TEXTS = {".md", ".py", ".toml", ".yaml", ".yml", ".lock", ".lua", ".html", ".mako", ".json", ""}
OUTPUT = {"__pycache__", "build", "dist", "node_modules"}  # what tools leave behind, like all that begins with a dot


def page(name: str) -> str:
    """A page of docs/."""
    return (DOCS / name).read_text()


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    if found and len(found[1]) == 3:
        found = re.search(rf"^(###) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[2]


def rows(text: str) -> dict[str, list[str]]:
    """The table rows whose first cell is one name in backticks, by that name."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and (name := re.fullmatch(r"`([^`]+)`(?: \*)?", cells[0])):
            found[name[1]] = cells[1:]
    return found


def fenced(language: str) -> list[Any]:
    """Every code block of a language, with the page it stands on."""
    return [
        pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
        for path in PAGES
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S), 1)
    ]


def commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every verb of the command line with its full name. Typer brings a click of its own, hence Any."""
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, *names, name)
    else:
        yield " ".join(("scim-server", *names)), group


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_every_setting_is_documented_with_its_default() -> None:
    known = {f"{PREFIX}{name.upper()}": field for name, field in Settings.model_fields.items()}
    del known[f"{PREFIX}SESSION_STORES"]
    documented = rows(section(page("operations.md"), "Settings"))
    assert documented.keys() == known.keys()
    assert {name: cells[0] for name, cells in documented.items()} == {n: _default(f) for n, f in known.items()}


def test_every_variable_that_a_page_names_is_read() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {f"{PREFIX}CONFIG"}
    known |= {f"{name}_FILE" for name in known}
    for path in PAGES:
        text = re.sub(r"\$\{\w+\}|SCIM_(TEST|CHAOS)_\w+", "", path.read_text())
        assert set(re.findall(r"\bSCIM_[A-Z][A-Z_]*[A-Z]\b", text)) <= known, path.name


def test_every_tenant_option_is_documented_with_values_and_default() -> None:
    documented = rows(section(page("operations.md"), "Tenant options"))
    assert {name: cells[:2] for name, cells in documented.items()} == {
        option.name: [_values(option.values), _written(getattr(TenantOptions(), option.name))] for option in OPTIONS
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_with_its_options(command: str) -> None:
    documented = section(page("operations.md"), "Commands")
    lines = [line for line in documented.splitlines() if re.match(rf"\| `{command}[ `]", line)]
    assert len(lines) == 1, "one row of the table in docs/operations.md"
    wanted = {option for one in COMMANDS[command].params for option in one.opts if option.startswith("--")}
    assert {option for option in wanted if f"`{option}`" not in lines[0]} == set()


def test_every_command_on_a_page_exists() -> None:
    groups = {name.split()[1] for name in COMMANDS if len(name.split()) == 3}
    for path in PAGES:
        for command, verb in re.findall(r"(?<!SETUSER )\bscim-server ([a-z]+)(?: ([a-z]+))?", _code(path.read_text())):
            name = f"scim-server {command} {verb}" if command in groups else f"scim-server {command}"
            assert name in COMMANDS, f"{path.name}: {name}"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_every_event_is_documented_with_its_data(event: type[Event]) -> None:
    person = {"userName": "ada@example.com", "externalId": "7f1c", "displayName": "Ada"}
    documented = section(page("events.md"), event.type)
    assert [name for name in event(Snapshot("1", person)).data() if f"`{name}`" not in documented] == []


def test_every_metric_is_documented_with_its_labels() -> None:
    made = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    documented = rows(section(page("operations.md"), "Metrics"))
    assert {name: cells[0] for name, cells in documented.items()} == {
        metric._name + ("_total" if metric._type == "counter" else ""): ", ".join(f"`{n}`" for n in metric._labelnames)
        for metric in made
    }


def test_every_error_is_documented() -> None:
    table = section(page("http.md"), "Errors")
    documented = set(re.findall(r"^\| ([\d, ]+) \| (?:`(\w+)` )?\|", table, re.MULTILINE))
    classes = [
        one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, ScimError) and one != ScimError
    ]
    assert {(str(one.status), one.scim_type or "") for one in classes} <= documented


@pytest.mark.parametrize("quirk", catalogue())
def test_every_quirk_is_documented_under_its_numbers(quirk: str) -> None:
    cells = rows(page("idp/quirks.md")).get(quirk)
    assert cells, "a row of the table in docs/idp/quirks.md"
    assert cells[0] == ", ".join(re.findall(r"Q\d+", catalogue()[quirk].splitlines()[0].partition(":")[0]))


def test_every_documented_quirk_exists() -> None:
    assert rows(page("idp/quirks.md")).keys() <= catalogue().keys()


@pytest.mark.parametrize(("kind", "known"), [("redis", presets.REDIS), ("sql", presets.SQL)])
def test_every_preset_is_documented(kind: str, known: Iterable[str]) -> None:
    table = section(page("session-stores.md"), "Presets").partition(f'`kind = "{kind}"`')[2].partition("\n\n")[0]
    assert rows(table).keys() == set(known)


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("What every store has", StoreSettings),
        ("redis", RedisSettings),
        ("sql", SqlSettings),
        ("webhook", WebhookSettings),
        ("python", PythonSettings),
    ],
)
def test_every_setting_of_a_store_is_documented_with_its_default(heading: str, model: type[BaseModel]) -> None:
    common = {} if model is StoreSettings else StoreSettings.model_fields
    own = {name: field for name, field in model.model_fields.items() if name not in common and name != "kind"}
    documented = {name: cells[0] for name, cells in rows(section(page("session-stores.md"), heading)).items()}
    for general in ("url", "kind"):  # every kind says once more which addresses it takes
        documented.pop(general, None)
        own.pop(general, None)
    assert documented == {name: _default(field) for name, field in own.items()}


def test_every_encoding_and_gate_table_is_documented() -> None:
    stores = page("session-stores.md")
    assert [name for name in ENCODINGS if f"`{{{name}}}`" not in stores] == []
    flat = re.sub(r"\s+", " ", stores)
    assert [table for table in TABLES if f"{table};" not in flat] == []


def test_every_scope_is_documented() -> None:
    assert rows(section(page("http.md"), "Endpoints")).keys() >= set(SCOPES)


def test_every_package_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    reasons = page("decisions/0002-packages.md")
    names = (Requirement(text).name for text in asked)
    assert [name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", reasons)] == []


def test_every_decision_and_provider_is_listed() -> None:
    for folder in (DOCS / "decisions", DOCS / "idp"):
        listed = re.findall(r"\]\(([\w-]+\.md)\)", (folder / "README.md").read_text())
        assert {path.name for path in folder.glob("*.md")} - {"README.md"} == set(listed)


@pytest.mark.parametrize("block", fenced("toml"))
def test_toml_is_a_configuration(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "scim-server.toml"
    config.write_text(block)
    for name in re.findall(r'_file = "([^"]+)"', block):
        (tmp_path / name).write_text(SECRET)
    for module, function in re.findall(r'^function = "(\w+):(\w+)"', block, re.MULTILINE):
        (code,) = (one.values[0] for one in fenced("python") if f"def {function}(" in one.values[0])
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
    environment = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block), SECRET) | {"SCIM_CONFIG": str(config)}
    Settings.load(environment)


@pytest.mark.parametrize("block", fenced("python"))
def test_python_compiles(block: str) -> None:
    compile(block, "documentation", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_documented_verification_tells_genuine_from_forged() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", page("events.md"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(block, scope)
    body, now = b'{"type": "user.deactivated"}', int(time.time())
    headers = signed_headers([b"an older key, left out soon...", signing_key(SECRET)], "1", now, body)
    late = signed_headers([signing_key(SECRET)], "1", now - 600, body)
    assert scope["is_genuine"](SECRET, headers, body)
    assert not scope["is_genuine"](SECRET, headers, body + b" ")
    assert not scope["is_genuine"](SECRET, late, body)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there), target


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in _files(ROOT)
        for word in FORBIDDEN
        if word in path.read_text(errors="replace")
    ]
    assert found == []


def _default(field: FieldInfo) -> str:
    """A default as the tables write it; nothing when there is none."""
    return "" if field.is_required() else _written(field.default)


def _written(value: object) -> str:
    if value is None or value == () or value == "":
        return ""
    if isinstance(value, Template):
        value = value.text
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(text: str) -> str:
    """The values of an option as the table writes them: code where they are to be typed as they stand."""
    return ", ".join(f"`{value}`" for value in text.split(" | ")) if " | " in text else text


def _code(text: str) -> str:
    """What stands in code blocks and between backticks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


def _anchors(path: Path) -> set[str]:
    """The headings of a page as links to them are written."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in OUTPUT or (path.name.startswith(".") and path.name != ".ci"):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.suffix in TEXTS:
            yield path
