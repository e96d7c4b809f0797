"""How a Change becomes SQL: on Postgres one statement whose parts are CTEs, on SQLite the same parts one by one.

Each part is built by one function for both. They differ in the guard: in a chain every part asks whether `written`
returned a row, in a sequence the caller stops after it. All parts of a chain see the database as it was before, so
no part may read what another one wrote, except through its RETURNING.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)

from scim_server.storage.change import FEED, Change, Queued
from scim_server.storage.commit_messages import enqueue, moves, queue_columns, replace_held
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Compiled, Statement, bound, compile_for
from scim_server.storage.tables import (
    Id,
    Json,
    Key,
    audit,
    counter,
    credential,
    deactivation,
    member,
    outbox,
    resource,
    resource_value,
)

COUNTER_SHARDS = 16
_FEED = literal_column(f"'{FEED}'", Text)  # is read and not delivered: nobody has to learn of its rows


@dataclass(frozen=True, slots=True)
class Shape:
    """Which parts a Change has; equal shapes share their SQL."""

    write: str
    guarded: bool
    members_in: bool
    members_out: bool
    replace_members: bool
    values_in: bool
    values_out: bool
    messages: bool
    moves: bool
    lifts: bool
    losses: bool
    remains: bool
    named: bool
    in_turn: bool
    credential: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `chain` on Postgres: every row carries version and modified, then one queued message or NULLs; no
    row means stale. Else `before`, then `written` (no row means stale), then `after`, then `queued` if there is one.
    A change with entitlements runs ENTITLE afterwards, in the same transaction: groups are locked before users, here as
    by deletions, so that the two never meet head-on. Fewer rows than entitlements mean stale."""

    chain: Compiled | None = None
    before: tuple[Compiled, ...] = ()
    written: Compiled | None = None
    after: tuple[Compiled, ...] = ()
    queued: Compiled | None = None


def shape_of(change: Change) -> Shape:
    """The parts this change needs."""
    return Shape(
        write=change.write,
        guarded=change.expected_version is not None,
        members_in=bool(change.members_in),
        members_out=bool(change.members_out),
        replace_members=change.replace_members,
        values_in=bool(change.values_in),
        values_out=bool(change.values_out),
        messages=bool(change.messages),
        moves=any(m.action != "notify" and not m.if_denied and not m.held for m in change.messages),
        lifts=any(m.if_denied for m in change.messages),
        losses=bool(change.losses),
        remains=change.remains is not None,
        named=change.write == "bump" and change.row is not None,
        in_turn=change.type == "Group" and change.write in ("update", "bump", "delete"),
        credential=_credential_part(change),
    )


def parameters(change: Change, dialect: Dialect) -> Mapping[str, Any]:
    """Everything a plan for this change may bind."""
    row = change.row
    return {
        "change_id": change.id,
        "at": change.at,
        "tenant_id": change.tenant_id,
        "type": change.type,
        "resource_id": change.resource_id,
        "expected_version": change.expected_version,
        "doc": row and row.doc,
        "search": row and row.search,
        "active": row and row.active,
        "unique_key": row and row.unique_key,
        "external_id": row and row.external_id,
        "display_name_key": row and row.display_name_key,
        "family_name_key": row and row.family_name_key,
        "members_in": _json(change.members_in),
        "members_out": dialect.pack_list(sorted(change.members_out)),
        "members_kept": dialect.pack_list([m.member_id for m in change.members_in]),
        "values_in": _json(change.values_in),
        "values_out": _json(change.values_out),
        "entitled": change.entitled,
        "hash": change.credential,
        "entitlements": _json(change.entitlements),
        "losses": _json(change.losses),
        "remains": _json(change.remains),
        "messages": _json(sorted(change.messages, key=lambda m: (m.store, m.subject, m.id))),
        "actor": change.audit.actor,
        "audit_action": change.audit.action,
        "request_id": change.audit.request_id,
        "detail": _json(change.audit.detail),
        "shard": int(change.resource_id[-1], 16) % COUNTER_SHARDS,
        "delta": 1 if change.write == "insert" else -1,
    }


def queued(rows: list[Any]) -> tuple[Queued, ...]:
    """The messages in the rows of a plan, in the order they were made."""
    found = [
        Queued(
            id=str(row["id"]),
            store=row["store"],
            subject=row["subject"],
            action=row["action"],
            type=row["event"],
            epoch=row["epoch"],
            denied=None if row["denied"] is None else bool(row["denied"]),
            not_before=row["not_before"],
            data=orjson.loads(row["data"]),
            blocked=bool(row["blocked"]),
            held=bool(row["held"]),
        )
        for row in rows
        if row["id"] is not None
    ]
    return tuple(sorted(found, key=lambda message: message.id))


@lru_cache(maxsize=512)
def plan(shape: Shape, dialect: Dialect) -> Plan:
    """The compiled SQL of a shape; there are a few dozen shapes in all."""
    return _chain(shape, dialect) if dialect.chains else _sequence(shape, dialect)


def _chain(shape: Shape, d: Dialect) -> Plan:
    written = _written(shape, d).cte("written")
    guard = exists(select(literal_column("1")).select_from(written))
    parts = [p.cte(f"part{n}") for n, p in enumerate(_before(shape, d, guard) + _after(shape, d, guard))]
    result = select(written.c.version, written.c.modified)
    if shape.messages:
        moved = [part.cte(f"moved{n}") for n, part in enumerate(moves(shape.moves, shape.lifts, d, guard))]
        queue = enqueue(d, guard, moved).cte("queued")
        parts += moved
        result = result.add_columns(*queue_columns(queue)).select_from(written.outerjoin(queue, queue.c.store != _FEED))
    return Plan(chain=compile_for(d, result.add_cte(*parts)))


def _sequence(shape: Shape, d: Dialect) -> Plan:
    after = _after(shape, d, true())
    if shape.messages:
        after += [*moves(shape.moves, shape.lifts, d, true()), enqueue(d, true(), None)]
    look = select(*queue_columns(outbox)).where(outbox.c.change_id == bindparam("change_id"), outbox.c.store != _FEED)
    return Plan(
        before=tuple(compile_for(d, part) for part in _before(shape, d, true())),
        written=compile_for(d, _written(shape, d)),
        after=tuple(compile_for(d, part) for part in after),
        queued=compile_for(d, look) if shape.messages else None,
    )


def _this(table: Any, id_column: Any) -> ColumnElement[bool]:
    return and_(
        table.c.tenant_id == bound("tenant_id", Id),
        table.c.type == bound("type", Key),
        id_column == bound("resource_id", Id),
    )


def _row_values(d: Dialect) -> dict[str, Any]:
    keys = ("unique_key", "external_id", "display_name_key", "family_name_key")
    return {
        "doc": d.json("doc"),
        "search": d.json("search"),
        "active": bound("active", Boolean),
        **{key: bound(key, Key) for key in keys},
    }


def _written(shape: Shape, d: Dialect) -> Any:
    table = resource.c
    if shape.write == "none":
        return select(literal_column("0", Integer).label("version"), bound("at", BigInteger).label("modified"))
    if shape.write == "insert":
        made = {"tenant_id": Id, "type": Key, "created": BigInteger, "modified": BigInteger}
        values = {name: bound("at" if kind is BigInteger else name, kind) for name, kind in made.items()}
        values |= {"id": bound("resource_id", Id), "version": literal_column("1"), **_row_values(d)}
        values["entitled"] = bound("entitled", Boolean)
        return d.insert(resource).values(values).returning(table.version, table.modified)
    here = _this(resource, table.id)
    if shape.guarded:
        here = and_(here, table.version == bound("expected_version", Integer))
    elif shape.named:
        here = and_(here, table.display_name_key.is_not_distinct_from(bound("display_name_key", Key)))
    if shape.in_turn and d.chains:
        here = and_(here, _in_turn())
    if shape.write == "delete":
        if d.chains:
            here = and_(here, _groups_locked())
        return delete(resource).where(here).returning(table.version, table.modified)
    # lastModified of a resource never goes back, whatever the clocks of the servers say.
    forward = {
        "version": table.version + literal_column("1"),
        "modified": d.greatest(table.modified, bound("at", BigInteger)),
    }
    values = forward if shape.write == "bump" else {**forward, **_row_values(d)}
    return update(resource).where(here).values(values).returning(table.version, table.modified)


def _as_member() -> ColumnElement[bool]:
    return and_(member.c.tenant_id == bound("tenant_id", Id), member.c.member_id == bound("resource_id", Id))


def _its_groups() -> ColumnElement[bool]:
    return and_(
        resource.c.tenant_id == bound("tenant_id", Id),
        resource.c.type == literal_column("'Group'"),
        resource.c.id.in_(select(member.c.group_id).where(_as_member())),
        resource.c.id != bound("resource_id", Id),
    )


def _groups_locked() -> ColumnElement[bool]:
    """True, once the groups are locked: an edit of members locks its group first and then, by the foreign key, each
    member, so a deletion that began with the member would meet it head-on."""
    groups = select(resource.c.id).where(_its_groups()).order_by(resource.c.id).with_for_update().cte("its_groups")
    return select(func.count()).select_from(groups).scalar_subquery() >= literal_column("0")


def _in_turn() -> ColumnElement[bool]:
    """True, once no other change of this group is under way. The event feed has the order of transaction numbers:
    whoever waits for a row has one already and may be overtaken, whoever waits here has none yet."""
    key = func.hashtextextended(cast(bound("resource_id", Id), Text), literal_column("0"))
    return cast(select(func.pg_advisory_xact_lock(key)).scalar_subquery(), Text) == literal_column("''")


def _before(shape: Shape, d: Dialect, guard: ColumnElement[bool]) -> list[Any]:
    if shape.write != "delete":
        return []
    own = and_(member.c.tenant_id == bound("tenant_id", Id), member.c.group_id == bound("resource_id", Id))
    return [
        update(resource)
        .where(_its_groups(), guard)
        .values(
            version=resource.c.version + literal_column("1"),
            modified=d.greatest(resource.c.modified, bound("at", BigInteger)),
        ),
        delete(member).where(or_(_as_member(), own), guard),
        delete(resource_value).where(_this(resource_value, resource_value.c.resource_id), guard),
    ]


def _after(shape: Shape, d: Dialect, guard: ColumnElement[bool]) -> list[Any]:
    parts: list[Any] = []
    own = and_(member.c.tenant_id == bound("tenant_id", Id), member.c.group_id == bound("resource_id", Id))
    if shape.replace_members:
        kept = d.any_of(member.c.member_id, "members_kept", Id)
        parts.append(delete(member).where(own, ~kept if shape.members_in else true(), guard))
    elif shape.members_out:
        parts.append(delete(member).where(own, d.any_of(member.c.member_id, "members_out", Id), guard))
    if shape.members_in:
        parts.append(_add_members(d, guard))
    if shape.values_out:
        gone = d.rows("values_out", {"attr": Key, "value_key": Key, "exclusive": Boolean()})
        same = and_(gone.c.attr == resource_value.c.attr, gone.c.value_key == resource_value.c.value_key)
        here = _this(resource_value, resource_value.c.resource_id)
        parts.append(delete(resource_value).where(here, exists(select(literal_column("1")).where(same)), guard))
    if shape.values_in:
        parts.append(_add_values(d, guard))
    parts.append(_audit(d, guard))
    if shape.credential == "set":
        parts.append(_set_credential(d, guard))
    elif shape.credential == "forget":
        parts.append(delete(credential).where(_its(credential), guard))
    if shape.losses:
        parts.append(_record_losses(d, guard))
    if shape.remains:
        parts.append(_keep_remains(d, guard))
    if shape.moves or shape.lifts:
        parts.append(replace_held(d, guard))
    if shape.write in ("insert", "delete"):
        parts.append(_count(d, guard))
    return parts


def _add_members(d: Dialect, guard: ColumnElement[bool]) -> Any:
    new = d.rows("members_in", {"member_id": Id, "type": Key, "display": Text()})
    columns = ["tenant_id", "group_id", "member_id", "type", "display"]
    source = select(bound("tenant_id", Id), bound("resource_id", Id), new.c.member_id, new.c.type, new.c.display).where(
        guard
    )
    insert = d.insert(member).from_select(columns, source.order_by(new.c.member_id))
    key = [member.c.tenant_id, member.c.group_id, member.c.member_id]
    return insert.on_conflict_do_update(
        index_elements=key,
        set_={"display": func.coalesce(insert.excluded.display, member.c.display)},
    )


def _add_values(d: Dialect, guard: ColumnElement[bool]) -> Any:
    new = d.rows("values_in", {"attr": Key, "value_key": Key, "exclusive": Boolean()})
    columns = ["tenant_id", "type", "attr", "value_key", "resource_id", "exclusive"]
    source = select(
        bound("tenant_id", Id),
        bound("type", Key),
        new.c.attr,
        new.c.value_key,
        bound("resource_id", Id),
        new.c.exclusive,
    )
    return d.insert(resource_value).from_select(columns, source.where(guard))


def _audit(d: Dialect, guard: ColumnElement[bool]) -> Any:
    columns: dict[str, Any] = {
        "tenant_id": bound("tenant_id", Id),
        "id": bound("change_id", Id),
        "at": bound("at", BigInteger),
        "actor": bound("actor", Text),
        "action": bound("audit_action", Key),
        "resource_type": bound("type", Key),
        "resource_id": bound("resource_id", Id),
        "request_id": bound("request_id", Text),
        "detail": d.json("detail"),
    }
    return d.insert(audit).from_select(list(columns), select(*columns.values()).where(guard))


def _credential_part(change: Change) -> str:
    if change.credential is None:
        return "forget" if change.write == "delete" and change.type == "User" else ""
    return "set" if change.credential else "forget"


def _its(table: Any) -> ColumnElement[bool]:
    return and_(table.c.tenant_id == bound("tenant_id", Id), table.c.resource_id == bound("resource_id", Id))


def _set_credential(d: Dialect, guard: ColumnElement[bool]) -> Any:
    columns = {
        "tenant_id": bound("tenant_id", Id),
        "resource_id": bound("resource_id", Id),
        "hash": bound("hash", Text),
    }
    insert = d.insert(credential).from_select(list(columns), select(*columns.values()).where(guard))
    key = [credential.c.tenant_id, credential.c.resource_id]
    return insert.on_conflict_do_update(index_elements=key, set_={"hash": insert.excluded.hash})


def _record_losses(d: Dialect, guard: ColumnElement[bool]) -> Any:
    lost = d.rows("losses", {"resource_id": Id, "how": Key, "remains": Json})
    columns: dict[str, Any] = {
        "tenant_id": bound("tenant_id", Id),
        "resource_id": lost.c.resource_id,
        "change_id": bound("change_id", Id),
        "at": bound("at", BigInteger),
        "how": lost.c.how,
        "actor": bound("actor", Text),
        "remains": lost.c.remains,
    }
    return d.insert(deactivation).from_select(list(columns), select(*columns.values()).where(guard))


def _keep_remains(d: Dialect, guard: ColumnElement[bool]) -> Any:
    mine = and_(
        deactivation.c.tenant_id == bound("tenant_id", Id), deactivation.c.resource_id == bound("resource_id", Id)
    )
    open_ = and_(deactivation.c.undone.is_(None), deactivation.c.remains.is_(None))
    return update(deactivation).where(mine, open_, guard).values(remains=d.json("remains"))


def _entitle(d: Dialect) -> Any:
    """Users whose entitlement hangs on the groups of the change, each still as it was read; the ids that were."""
    users = d.rows("entitlements", {"resource_id": Id, "version": Integer(), "entitled": Boolean()})
    return (
        update(resource)
        .where(
            resource.c.tenant_id == bound("tenant_id", Id),
            resource.c.type == literal_column("'User'"),
            resource.c.id == users.c.resource_id,
            resource.c.version == users.c.version,
        )
        .values(version=resource.c.version + literal_column("1"), entitled=users.c.entitled)
        .returning(resource.c.id)
    )


ENTITLE = Statement(_entitle)


def _count(d: Dialect, guard: ColumnElement[bool]) -> Any:
    columns = ["tenant_id", "type", "shard", "n"]
    source = select(bound("tenant_id", Id), bound("type", Key), bound("shard", Integer), bound("delta", BigInteger))
    insert = d.insert(counter).from_select(columns, source.where(guard))
    key = [counter.c.tenant_id, counter.c.type, counter.c.shard]
    return insert.on_conflict_do_update(index_elements=key, set_={"n": counter.c.n + insert.excluded.n})


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
