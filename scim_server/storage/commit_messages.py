"""The messages of a Change: how they move the standing of subjects and become rows of the outbox."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    and_,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from scim_server.storage.change import FEED
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import bound
from scim_server.storage.tables import Id, Json, Key, outbox, subject

_MESSAGE: dict[str, Any] = {
    "id": Id,
    "store": Key,
    "subject": Key,
    "action": Key,
    "type": Key,
    "data": Json,
    "denied": Boolean(),
    "if_denied": Boolean(),
    "held": Boolean(),
    "delay_ms": BigInteger(),
    "resource_id": Id,
}


def moves(certain: bool, if_denied: bool, d: Dialect, guard: ColumnElement[bool]) -> list[Any]:
    """Statements that move standings: the `certain` ones, and those only of subjects denied before. Each returns the
    standings it moved. Held messages move nothing."""
    said = d.rows("messages", _MESSAGE)
    at = bound("at", BigInteger)
    returned = (subject.c.store, subject.c.subject, subject.c.epoch, subject.c.denied, subject.c.not_before)
    parts: list[Any] = []
    if certain:
        once = _once(said)
        columns: dict[str, Any] = {
            "tenant_id": bound("tenant_id", Id),
            "store": once.c.store,
            "subject": once.c.subject,
            "resource_id": func.coalesce(once.c.resource_id, bound("resource_id", Id)),
            "change_id": bound("change_id", Id),
            "epoch": at,
            "denied": once.c.denied,
            "not_before": at,
            "modified": at,
        }
        source = select(*columns.values()).where(once.c.rank == literal_column("1"), guard)
        insert = d.insert(subject).from_select(list(columns), source.order_by(once.c.store, once.c.subject))
        new = insert.excluded
        parts.append(
            insert.on_conflict_do_update(
                index_elements=[subject.c.tenant_id, subject.c.store, subject.c.subject],
                set_={
                    "resource_id": new.resource_id,
                    "change_id": new.change_id,
                    "epoch": d.greatest(subject.c.epoch + literal_column("1"), new.epoch),
                    "denied": new.denied,
                    "not_before": d.greatest(subject.c.not_before, new.not_before),
                    "modified": new.modified,
                },
            ).returning(*returned)
        )
    if if_denied:
        parts.append(
            update(subject)
            .where(
                subject.c.tenant_id == bound("tenant_id", Id),
                subject.c.store == said.c.store,
                subject.c.subject == said.c.subject,
                subject.c.denied,
                # What this very change denies stays denied.
                subject.c.change_id != bound("change_id", Id),
                said.c.if_denied,
                guard,
            )
            .values(
                resource_id=func.coalesce(said.c.resource_id, bound("resource_id", Id)),
                change_id=bound("change_id", Id),
                epoch=d.greatest(subject.c.epoch + literal_column("1"), at),
                denied=literal_column("false", Boolean),
                not_before=d.greatest(subject.c.not_before, at),
                modified=at,
            )
            .returning(*returned)
        )
    return parts


def _once(said: Any) -> Any:
    """The certain moves, those of `rank` 1 of different subjects: users may share one, such as an externalId, and then
    it moves once; denied, if one of them is to be."""
    rank = func.row_number().over(
        partition_by=(said.c.store, said.c.subject), order_by=(said.c.denied.desc(), said.c.id)
    )
    certain = (said.c.action != "notify", ~said.c.if_denied, ~said.c.held)
    return (
        select(said.c.store, said.c.subject, said.c.resource_id, said.c.denied, rank.label("rank"))
        .where(*certain)
        .subquery("once")
    )


def enqueue(d: Dialect, guard: ColumnElement[bool], moved: list[Any] | None) -> Any:
    """The INSERT of the outbox rows: a move only if its standing moved. `moved` are the results of `moves`, None where
    they stand in the table already."""
    said = d.rows("messages", _MESSAGE)
    if moved is None:
        standing: Any = (
            select(subject)
            .where(subject.c.tenant_id == bound("tenant_id", Id), subject.c.change_id == bound("change_id", Id))
            .subquery("standing")
        )
    elif moved:
        standing = union_all(*(select(part) for part in moved)).subquery("standing")
    else:
        standing = select(subject).where(literal_column("false")).subquery("standing")
    joined = said.outerjoin(standing, and_(standing.c.store == said.c.store, standing.c.subject == said.c.subject))
    columns: dict[str, Any] = {
        "id": said.c.id,
        "change_id": bound("change_id", Id),
        "tenant_id": bound("tenant_id", Id),
        "resource_id": func.coalesce(said.c.resource_id, bound("resource_id", Id)),
        "store": said.c.store,
        "subject": said.c.subject,
        "action": said.c.action,
        "type": said.c.type,
        "epoch": case((said.c.action != "notify", standing.c.epoch)),
        "denied": case((said.c.action != "notify", standing.c.denied)),
        "not_before": case((said.c.action != "notify", standing.c.not_before)),
        "data": said.c.data,
        "created": bound("at", BigInteger),
        "position": d.position(),
        # The feed is only read: nobody delivers its rows.
        "settled": case((said.c.store == literal_column(f"'{FEED}'"), bound("at", BigInteger))),
        "due": d.now() + said.c.delay_ms,
        "held": said.c.held,
    }
    apply = or_(said.c.action == "notify", said.c.held, standing.c.epoch.is_not(None))
    source = select(*columns.values()).select_from(joined).where(apply, guard)
    return d.insert(outbox).from_select(list(columns), source).returning(*outbox.c)


def replace_held(d: Dialect, guard: ColumnElement[bool]) -> Any:
    """What a brake holds for a subject is settled undelivered once there is a later word about the subject."""
    said = d.rows("messages", _MESSAGE)
    return (
        update(outbox)
        .where(
            outbox.c.tenant_id == bound("tenant_id", Id),
            outbox.c.store == said.c.store,
            outbox.c.subject == said.c.subject,
            outbox.c.settled.is_(None),
            outbox.c.held,
            said.c.action != "notify",
            ~said.c.held,
            guard,
        )
        .values(settled=bound("at", BigInteger), outcome=literal_column("'cancelled'"))
    )


def queue_columns(queue: Any) -> list[Any]:
    """What a caller learns of each queued row, first of all whether it must wait for an older one."""
    older = outbox.alias("older")
    waiting = exists(
        select(literal_column("1"))
        .select_from(older)
        .where(
            older.c.tenant_id == queue.c.tenant_id,
            older.c.store == queue.c.store,
            older.c.subject == queue.c.subject,
            older.c.settled.is_(None),
            ~older.c.held,
            older.c.change_id != queue.c.change_id,
        )
    )
    names = ("id", "store", "subject", "action", "epoch", "denied", "not_before", "data", "held")
    return [
        *(queue.c[name] for name in names),
        queue.c.type.label("event"),
        waiting.label("blocked"),
    ]
