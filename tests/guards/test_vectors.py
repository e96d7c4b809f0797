"""Four guards, one answer: Python here, Node, PHP and Java (marked crm) on the same vectors."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scim_server.guard import Gate, Guard, RedisGates, allows

HERE = Path(__file__).parent
GUARDS = HERE.parents[1] / "examples" / "guards"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads((HERE / "vectors.json").read_text("utf-8"))
JAKARTA = Path("/usr/share/java/jakarta-servlet-api.jar")


def each() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, vectors in VECTORS.items():
        for vector in vectors:
            yield kind, vector


def differences(answers: list[str]) -> list[str]:
    expected = [(f"{kind}: {vector['why']}", vector["answer"]) for kind, vector in each()]
    assert len(answers) == len(expected)
    return [
        f"{why}: {answer} instead of {wanted}"
        for (why, wanted), answer in zip(expected, answers, strict=True)
        if answer != wanted
    ]


def test_the_files_that_a_crm_copies_are_there() -> None:
    for name in (
        "express/scim-guard.mjs",
        "php/Guard.php",
        "php/GuardRequests.php",
        "spring/Gate.java",
        "spring/Guard.java",
        "spring/GuardFilter.java",
    ):
        assert (GUARDS / name).is_file(), name


def test_python() -> None:
    assert differences([python_answer(kind, vector) for kind, vector in each()]) == []


def python_answer(kind: str, vector: dict[str, Any]) -> str:
    if kind == "decide":
        try:
            gate = Gate.parse(vector["marker"])
        except ValueError:
            return "invalid"
        return str(allows(gate, vector["epoch"], vector["started_ms"])).lower()
    if kind == "key":
        return str(RedisGates(Keys(), tenant=vector["tenant"], gate_key=vector["template"]).read(vector["subject"]))
    stored = iter([vector["begin"], vector["confirm"]])
    guard = Guard(lambda _: read(next(stored)), fail_closed=vector["fail_closed"])
    epoch = guard.begin("s")
    return f"{epoch} {str(guard.confirm('s', epoch)).lower()}"


def read(stored: str | None) -> str | None:
    if stored == "down":
        raise ConnectionError
    return stored


class Keys:
    """A client that answers with the key it was asked for."""

    def get(self, key: str) -> str:
        return key


@pytest.mark.crm
@pytest.mark.parametrize("program", [["node", "vectors.mjs"], ["php", "vectors.php"]], ids=["node", "php"])
def test_another_language(program: list[str]) -> None:
    assert shutil.which(program[0]), f"{program[0]} is missing: run make test-crm"
    lines = "".join(json.dumps([kind, vector]) + "\n" for kind, vector in each())
    told = run([program[0], str(HERE / program[1])], lines)
    assert differences([json.loads(line) for line in told.splitlines()]) == []


@pytest.mark.crm
def test_java_with_nothing_but_the_jdk(tmp_path: Path) -> None:
    sources = [GUARDS / "spring" / "Gate.java", GUARDS / "spring" / "Guard.java", HERE / "Vectors.java"]
    run(["javac", "-Xlint:all", "-Werror", "-d", str(tmp_path), *map(str, sources)])
    lines = "".join("\t".join([kind, *map(field, list(vector.values())[1:-1])]) + "\n" for kind, vector in each())
    told = run(["java", "-cp", str(tmp_path), "Vectors"], lines)
    assert differences(told.splitlines()) == []


def field(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else value.encode().hex() if isinstance(value, str) else str(value)


def run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
