"""The standing of subjects, in bulk: for a store that lost its gates, or that never heard of those who left before it
was configured. Single moves are part of a commit (commit_messages.py)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Integer, delete, exists, literal_column, or_, select, true

from scim_server.storage.database import Database
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, Key, outbox, resource, subject


@dataclass(frozen=True, slots=True)
class Standing:
    """A subject's gate as it should be; `not_before` in unix ms."""

    subject: str
    epoch: int
    denied: bool
    not_before: int


@dataclass(frozen=True, slots=True)
class Person:
    """A user as far as a subject template needs them; `doc` is JSON text."""

    id: str
    doc: str


@dataclass(frozen=True, slots=True)
class Owner(Person):
    """A user with access who has this externalId; `version` guards what is done about that."""

    external_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Denial:
    """A subject that must not come in, because of this user."""

    subject: str
    resource_id: str


async def standings(
    database: Database, tenant_id: str, store: str, *, after: str, since: int, limit: int
) -> list[Standing]:
    """Subjects of a store, in key order from `after`: all that are denied, and those let in again after `since`.

    Not while a kill of theirs still waits: it writes the gate itself and says how many sessions it ended; and under the
    open gate of somebody who was let in again it would come too late, and spare the sessions that it is meant for.
    """
    given = {"tenant_id": tenant_id, "store": store, "after": after, "since": since, "limit": limit}
    rows = await database.read(_STANDINGS, given)
    return [Standing(row["subject"], row["epoch"], bool(row["denied"]), row["not_before"]) for row in rows]


async def people(database: Database, tenant_id: str, *, access: bool, after: str, limit: int) -> list[Person]:
    """Users of a tenant with or without access, in id order from `after` ("" is the beginning)."""
    given = {"tenant_id": tenant_id, "after": after or _BEFORE_ALL, "limit": limit}
    rows = await database.read(_WITH_ACCESS if access else _WITHOUT_ACCESS, given)
    return [Person(row["id"], row["doc"]) for row in rows]


async def owners(database: Database, tenant_id: str, external_ids: Sequence[str]) -> list[Owner]:
    """Users with access who have one of these externalIds."""
    given = {"tenant_id": tenant_id, "external_ids": database.dialect.pack_list(list(external_ids))}
    rows = await database.read(_OWNERS, given)
    return [Owner(row["id"], row["doc"], row["external_id"], row["version"]) for row in rows]


async def deny(database: Database, tenant_id: str, store: str, denials: Sequence[Denial], *, mark: str, at: int) -> int:
    """Deny subjects that have no standing yet; how many. `mark` tells them from those that moved by a change."""
    given = {
        "tenant_id": tenant_id,
        "store": store,
        "denials": orjson.dumps([asdict(denial) for denial in denials]).decode(),
        "mark": mark,
        "at": at,
    }
    (rows,) = await database.write((_DENY, given))
    return len(rows)


async def spare(database: Database, tenant_id: str, store: str, subjects: Sequence[str], *, mark: str) -> int:
    """Take back the denials under this mark of subjects that somebody with access owns; how many."""
    given = {
        "tenant_id": tenant_id,
        "store": store,
        "subjects": database.dialect.pack_list(list(subjects)),
        "mark": mark,
    }
    (rows,) = await database.write((_SPARE, given))
    return len(rows)


_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


def _people(d: Dialect, access: bool) -> Any:
    standing = resource.c.active & resource.c.entitled
    return (
        select(resource.c.id, d.json_text(resource.c.doc).label("doc"))
        .where(
            resource.c.tenant_id == bound("tenant_id", Id),
            resource.c.type == literal_column("'User'"),
            resource.c.id > bound("after", Id),
            standing if access else or_(~resource.c.active, ~resource.c.entitled),
        )
        .order_by(resource.c.id)
        .limit(bound("limit", Integer))
    )


def _owners(d: Dialect) -> Any:
    return select(
        resource.c.id, d.json_text(resource.c.doc).label("doc"), resource.c.external_id, resource.c.version
    ).where(
        resource.c.tenant_id == bound("tenant_id", Id),
        resource.c.type == literal_column("'User'"),
        d.any_of(resource.c.external_id, "external_ids", Key),
        resource.c.active,
        resource.c.entitled,
    )


def _deny(d: Dialect) -> Any:
    said = d.rows("denials", {"subject": Key, "resource_id": Id})
    at = bound("at", BigInteger)
    columns: dict[str, Any] = {
        "tenant_id": bound("tenant_id", Id),
        "store": bound("store", Key),
        "subject": said.c.subject,
        "resource_id": said.c.resource_id,
        "change_id": bound("mark", Id),
        "epoch": at,
        "denied": literal_column("true"),
        "not_before": at,
        "modified": at,
    }
    insert = d.insert(subject).from_select(list(columns), select(*columns.values()).where(true()))
    return insert.on_conflict_do_nothing().returning(subject.c.subject)


_KILL_WAITS = exists().where(
    outbox.c.tenant_id == subject.c.tenant_id,
    outbox.c.store == subject.c.store,
    outbox.c.subject == subject.c.subject,
    outbox.c.action == literal_column("'terminate'"),
    outbox.c.settled.is_(None),
    ~outbox.c.held,
)
_STANDINGS = Statement(
    lambda d: (
        select(subject.c.subject, subject.c.epoch, subject.c.denied, subject.c.not_before)
        .where(
            subject.c.tenant_id == bound("tenant_id", Id),
            subject.c.store == bound("store", Key),
            subject.c.subject > bound("after", Key),
            or_(subject.c.denied, subject.c.not_before > bound("since", BigInteger)),
            ~_KILL_WAITS,
        )
        .order_by(subject.c.subject)
        .limit(bound("limit", Integer))
    )
)
_OWNERS = Statement(_owners)
_WITH_ACCESS = Statement(lambda d: _people(d, access=True))
_WITHOUT_ACCESS = Statement(lambda d: _people(d, access=False))
_DENY = Statement(_deny)
_SPARE = Statement(
    lambda d: (
        delete(subject)
        .where(
            subject.c.tenant_id == bound("tenant_id", Id),
            subject.c.store == bound("store", Key),
            subject.c.change_id == bound("mark", Id),
            subject.c.denied,
            d.any_of(subject.c.subject, "subjects", Key),
        )
        .returning(subject.c.subject)
    )
)
