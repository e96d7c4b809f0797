"""What the project installs and ships: the lock fits pyproject.toml, the containers keep their promises.

Reads files only: no image is built here.
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scim_server.settings import Settings

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.lock", "requirements-server.lock"]


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))


def _asked_for(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = (text for extra in extras for text in project["optional-dependencies"][extra])
    return [Requirement(text) for text in (*project["dependencies"], *optional)]


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], ("test", "build")), (LOCKS[1], ("build",))])
def test_the_lock_fits_pyproject(lock: str, extras: tuple[str, ...]) -> None:
    pins = _pins(lock)
    unfit = [
        str(asked)
        for asked in _asked_for(*extras)
        if not asked.specifier.contains(pins.get(canonicalize_name(asked.name), "0"))
    ]
    assert unfit == [], "run `make lock`"


def test_the_image_gets_the_versions_that_were_tested() -> None:
    assert _pins("requirements-server.lock").items() <= _pins("requirements.lock").items()


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_hashes_and_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert len(re.findall(r" \\\n    --hash=sha256:", text)) >= len(_pins(lock))
    assert not re.search(r"https?://|file:|index-url|find-links", text)


def test_the_build_backend_comes_from_the_lock() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert [f"hatchling=={_pins(lock)['hatchling']}" for lock in LOCKS] == requires * 2


def test_every_container_of_compose_is_locked_down() -> None:
    services = (ROOT / "compose.yaml").read_text().split("\nservices:\n")[1].split("\nconfigs:\n")[0]
    containers = re.split(r"^  (?=\w+:$)", services, flags=re.MULTILINE)[1:]
    assert len(containers) == 3
    for container in containers:
        assert "read_only: true" in container
        assert "cap_drop: [ALL]" in container
        assert "no-new-privileges:true" in container
        assert not re.search(r"(PASSWORD|TOKEN): (?!\"\$\{)", container), "secrets come from the environment"


def test_compose_mounts_the_configuration_as_a_file() -> None:
    """Compose refuses inline `content` in a container whose root is read-only."""
    config = (ROOT / "compose.yaml").read_text().split("\nconfigs:\n")[1]
    file = re.search(r"^    file: \./(\S+)", config, re.MULTILINE)
    assert file is not None
    assert "content:" not in config
    settings = Settings.load({"SCIM_CONFIG": str(ROOT / file[1])})
    assert [store.name for store in settings.session_stores] == ["crm-redis"]


def test_the_image_runs_without_rights_and_says_whether_it_is_well() -> None:
    last_stage = (ROOT / "Dockerfile").read_text().rsplit("\nFROM ", 1)[1]
    assert "\nUSER 10001" in last_stage
    assert "/livez" in last_stage
    assert '\nCMD ["scim-server", "serve", "--host", "0.0.0.0"]' in last_stage


def test_what_says_that_it_is_typed_is() -> None:
    """PEP 561: a type checker believes nothing else."""
    assert "Typing :: Typed" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert (ROOT / "scim_server" / "py.typed").is_file()
