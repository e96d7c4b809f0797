"""Which `sql` stores are in the server's own database, and what is said of those that should be and are not."""

import os
from pathlib import Path
from typing import Any

import pytest

from scim_server.sessions.config import SqlSettings
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings, SettingsError

OURS = "postgresql://scim:secret@db.example/crm?sslmode=require"
STATEMENTS = ["DELETE FROM s WHERE u = :subject"]


def joins(url: str, ours: str = OURS, **more: Any) -> bool:
    (store,) = read_stores([{"name": "s", "kind": "sql", "url": url, "statements": STATEMENTS, **more}])
    assert isinstance(store, SqlSettings)
    return store.joins(ours)


@pytest.mark.parametrize(
    ("url", "by_itself", "when_asked"),
    [
        (OURS, True, True),
        ("postgres://scim:other@DB.example:5432/crm?sslmode=require", True, True),
        ("postgresql://crm:secret@db.example/crm?sslmode=require", False, True),
        ("postgresql://scim@db.example/crm", False, True),
        ("postgresql://scim@db.example/crm?options=-csearch_path%3Dcrm", False, True),
        ("postgresql://scim@db.example/crm2?sslmode=require", False, False),
        ("postgresql://scim@db.example:5433/crm?sslmode=require", False, False),
        ("postgresql://scim@db2.example/crm?sslmode=require", False, False),
        ("postgresql://scim@db.example/{tenant}?sslmode=require", False, False),
        ("mysql://scim@db.example:5432/crm?sslmode=require", False, False),
        ("sqlite:///crm.db", False, False),
    ],
)
def test_a_postgres_is_ours_by_address_role_and_options(url: str, by_itself: bool, when_asked: bool) -> None:
    assert joins(url) is by_itself
    assert joins(url, same_commit=True) is when_asked
    assert not joins(url, same_commit=False)
    assert joins(url, OURS.replace("postgresql:", "postgresql+asyncpg:")) is by_itself


@pytest.mark.parametrize("hosts", ["db1,db2", "db1:5432,db2", "DB1:5432,db2:5432"])
def test_a_postgres_of_several_hosts_is_ours_by_all_of_them(hosts: str) -> None:
    ours = "postgresql://scim@db1,db2:5432/crm"
    assert joins(f"postgresql://scim@{hosts}/crm", ours)
    assert joins(f"postgresql://crm@{hosts}/crm", ours, same_commit=True)
    assert not joins("postgresql://scim@db1,db3/crm", ours, same_commit=True)
    assert not joins("postgresql://scim@db1/crm", ours)
    assert joins("postgresql://scim@[::1]:5432/crm", "postgresql://scim@[::1]/crm")


def test_a_sqlite_file_is_ours_by_whatever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "our own.db").touch()
    os.symlink(tmp_path / "our own.db", tmp_path / "link.db")
    for url in (f"sqlite:///{tmp_path}/our%20own.db", "sqlite:///our own.db", "sqlite:///./link.db"):
        assert joins(url, "sqlite:///our own.db"), url
    assert not joins("sqlite:///crm.db", "sqlite:///our own.db")
    assert not joins(OURS, "sqlite:///our own.db")


def test_a_store_that_must_be_ours_and_is_not_is_an_error_at_start(tmp_path: Path) -> None:
    config = tmp_path / "scim-server.toml"
    config.write_text(
        '[[session_stores]]\nname = "crm"\nkind = "sql"\nurl = "sqlite:///crm.db"\nsame_commit = true\n'
        f"statements = {STATEMENTS}\n"
    )
    with pytest.raises(SettingsError) as told:
        Settings.load({"SCIM_CONFIG": str(config), "SCIM_DATABASE_URL": "sqlite:///scim.db"})
    assert told.value.problems[0].startswith('session store "crm": same_commit needs the database of SCIM_DATABASE_URL')
    assert Settings.load({"SCIM_CONFIG": str(config), "SCIM_DATABASE_URL": "sqlite:///crm.db"})
