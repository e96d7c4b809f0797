"""What the command line says of the person who uses it."""

import getpass
import os
import subprocess
import sys

import pytest

from scim_server.cli.terminal import actor


@pytest.mark.parametrize("problem", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set")])
def test_who_has_no_name_is_audited_by_number(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise problem

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert actor() == f"cli:{os.getuid()}"


def test_what_is_no_text_is_said_and_no_traceback() -> None:
    command = [sys.executable.encode(), b"-m", b"scim_server", b"token", b"issue", b"--name", b"\xe9"]
    done = subprocess.run(command, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not UTF-8" in done.stderr
