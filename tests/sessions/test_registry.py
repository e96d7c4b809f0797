"""Entries of the configuration: what is taken, and that every fault is told with the store's name and a way out."""

import subprocess
import sys
from typing import Any

import pytest

from scim_server.sessions import presets
from scim_server.sessions.config import RedisSettings, SqlSettings, WebhookSettings
from scim_server.sessions.registry import StoreConfigError, open_store, read_stores

REDIS: dict[str, Any] = {
    "name": "r",
    "kind": "redis",
    "url": "redis://h/0",
    "session_key": "s:{sid}",
    "index_key": "i:{subject}",
}
SQL: dict[str, Any] = {
    "name": "s",
    "kind": "sql",
    "url": "sqlite:///x.db",
    "statements": ["DELETE FROM s WHERE u = :subject"],
}
HOOK: dict[str, Any] = {"name": "w", "kind": "webhook", "url": "https://h/", "secret": "whsec_" + "A" * 32}


def test_the_kinds_and_their_defaults() -> None:
    redis, sql, hook = read_stores([REDIS, SQL, HOOK])
    assert isinstance(redis, RedisSettings)
    assert isinstance(sql, SqlSettings)
    assert isinstance(hook, WebhookSettings)
    assert {store.subject.text for store in (redis, sql, hook)} == {"{id}"}
    assert {store.tenant for store in (redis, sql, hook)} == {None}
    assert [template.text for template in redis.session_key] == ["s:{sid}"]
    assert (redis.max_session_days, redis.guard_key.text, hook.inline) == (32, "scim:guard:{tenant}", False)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({**REDIS, "index-key": "x"}, 'session store "r": index-key: is not a setting'),
        ({**REDIS, "kind": "ldap"}, 'session store "r": kind must be "redis", "sql", "webhook" or "python"'),
        ({"name": "r", "url": "x"}, 'session store "r": kind must be'),
        ({**REDIS, "url": None}, 'session store "r": url: '),
        ({"kind": "webhook", "url": "https://h/"}, "session store number 1: name: is missing"),
        ({**REDIS, "name": "with space"}, 'session store "with space": name: '),
        ({**REDIS, "url": "http://h"}, "url: begin with redis://"),
        ({**REDIS, "url": "redis://:p{x}w@h"}, "url: the address may hold {tenant} and no other braces"),
        ({**REDIS, "session_key": "s:{id}"}, "session_key.0: {id} is not known here"),
        ({**REDIS, "session_key": "s:{nope"}, "session_key.0: "),
        ({**REDIS, "session_key": "s:{user}"}, "session_key.0: {user} is not known here: use {sid}"),
        ({**REDIS, "session_key": "s:{subject}{sid}"}, "put a separator"),
        ({**REDIS, "session_key": "s:{subject}"}, "session_key needs {sid}"),
        ({**REDIS, "index_key": None}, "nothing says whose a session is"),
        ({**REDIS, "session_key": []}, "give session_key"),
        ({**REDIS, "value_contains": "{subject}"}, "write text and then one of"),
        ({**REDIS, "value_contains": "x{subject}{json}"}, "write text and then one of"),
        ({**REDIS, "hash_key": "h", "session_key": []}, "hash_key needs value_contains"),
        ({**REDIS, "preset": "rails"}, "preset: not known, use one of connect-redis"),
        ({**REDIS, "cluster": True, "sentinels": ["a:1"], "service": "x"}, "exclude each other"),
        ({**REDIS, "sentinels": ["a:1"]}, "go together"),
        ({**REDIS, "sentinels": ["a"], "service": "x"}, 'write "host:port"'),
        ({**REDIS, "max_session_days": 0}, "max_session_days: "),
        ({**REDIS, "subject": "{"}, "subject: template"),
        ({**REDIS, "subject": "externalId"}, "subject: names no attribute"),
        ({**REDIS, "subject": "{tenant}"}, "subject: names no attribute"),
        ({**REDIS, "index_key": "i:{tenant}"}, "index_key: a key without {subject} would stand for everybody"),
        ({**REDIS, "gate_key": "g:{tenant}"}, "gate_key: a key without {subject} would stand for everybody"),
        ({**SQL, "gate_statement": "UPDATE g SET e = :epoch"}, "a gate_statement without :subject"),
        ({**SQL, "statements": ["DELETE FROM s"]}, "would end everybody's sessions"),
        ({**SQL, "statements": ["DELETE FROM s WHERE u = :user"]}, "statements.0: :user is not known"),
        ({**SQL, "statements": ["DELETE FROM s WHERE u = ':subject"]}, "is never closed"),
        ({**SQL, "statements": []}, "give statements"),
        ({**SQL, "url": "oracle://h"}, "url: begin with postgresql://"),
        ({**SQL, "preset": "rails"}, "preset: not known"),
        ({**HOOK, "secret": "hunter2-hunter2"}, "secret: a webhook secret begins with whsec_"),
        ({**HOOK, "secret": []}, "secret: "),
        ({**HOOK, "url": "ftp://h"}, "url: begin with https://"),
    ],
)
def test_a_fault_is_told_with_its_place(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(StoreConfigError) as told:
        read_stores([entry])
    assert any(problem in line for line in told.value.problems), told.value.problems
    assert "hunter2" not in str(told.value)
    assert "p{x}w" not in str(told.value)


@pytest.mark.parametrize("entries", [REDIS, "redis", [1]])
def test_entries_that_are_no_list_of_tables_are_told(entries: Any) -> None:
    with pytest.raises(StoreConfigError, match=r"write \[\[session_stores\]\]"):
        read_stores(entries)


def test_all_faults_of_all_entries_are_told_at_once() -> None:
    broken = [{**REDIS, "typo": 1, "session_key": "{x}"}, {**SQL, "url": "ftp://h"}, HOOK, HOOK]
    with pytest.raises(StoreConfigError) as told:
        read_stores(broken)
    assert [line.split(":")[0] for line in told.value.problems] == [
        'session store "r"',
        'session store "r"',
        'session store "s"',
        'session store "w"',
    ]
    assert "2 stores have this name" in told.value.problems[-1]


@pytest.mark.parametrize(("kind", "names"), [("redis", presets.REDIS), ("sql", presets.SQL)])
def test_every_preset_is_a_complete_entry(kind: str, names: dict[str, Any]) -> None:
    url = {"redis": "redis://h", "sql": "postgresql://h/d"}[kind]
    for name in names:
        assert read_stores([{"name": "x", "kind": kind, "url": url, "preset": name}])


def test_an_entry_overrules_its_preset() -> None:
    (store,) = read_stores([{**SQL, "preset": "laravel"}])
    assert isinstance(store, SqlSettings)
    assert [statement.text for statement in store.statements] == SQL["statements"]


def test_secrets_are_not_in_what_is_printed() -> None:
    stores = read_stores([{**REDIS, "url": "redis://:hidden-word@h"}, HOOK])
    assert "hidden-word" not in repr(stores)
    assert "A" * 32 not in repr(stores)


async def test_stores_open_without_connecting() -> None:
    for settings in read_stores([REDIS, SQL, {**SQL, "name": "p", "url": "postgresql://nowhere.invalid/x"}, HOOK]):
        store = open_store(settings)
        assert (store.name, store.kind) == (settings.name, settings.kind)
        await store.aclose()


def test_a_mysql_store_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomysql", None)
    monkeypatch.delitem(sys.modules, "scim_server.sessions.sql_mysql", raising=False)
    (settings,) = read_stores([{**SQL, "url": "mysql://h/d"}])
    with pytest.raises(StoreConfigError, match=r"pip install .*mysql"):
        open_store(settings)


def test_no_adapter_is_imported_before_it_is_opened() -> None:
    program = (
        "import sys, scim_server.sessions.registry\n"
        "loaded = {'redis', 'asyncpg', 'httpx', 'aiomysql'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
