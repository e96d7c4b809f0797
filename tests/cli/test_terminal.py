"""What the command line says of the person who uses it."""

import getpass
import os

import pytest

from scim_server.cli.terminal import actor


@pytest.mark.parametrize("problem", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set")])
def test_who_has_no_name_is_audited_by_number(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise problem

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert actor() == f"cli:{os.getuid()}"
