"""What is known of each session store from one look to the next: the sentinel's value, who beats it, what is owed.

One process at a time holds a row, by a lease on the database's clock; it renews the lease with each beat. `tenant` is
a tenant's name where each has a server of its own, else "".
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Boolean, Text, bindparam, case, func, literal_column, null, or_, select, update

from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Id, Key, sentinel

Stage = Literal["deny", "spare"]


@dataclass(frozen=True, slots=True)
class Watched:
    """A store, or a tenant's part of it. It should hold a value from `confirmed` to `previous`, and is to hold
    `planned`. `lost`: when a loss was noticed that is not made good (unix ms). `stage` of the backfill, and (tenant id,
    user id) it has come to; None when it is done."""

    store: str
    tenant: str
    id: str
    template: str
    planned: int
    previous: int
    confirmed: int
    fingerprint: str | None
    lost: int | None
    stage: Stage | None
    after: tuple[str, str]


async def introduce(database: Database, store: str, tenant: str, *, template: str, new_id: str) -> None:
    """Make the row of a store seen for the first time. A new store, or a changed template, owes a backfill, under a
    new id: no mark of an earlier one is taken for its own."""
    await database.write((_INTRODUCE, {"store": store, "tenant": tenant, "template": template, "id": new_id}))


async def beat(
    database: Database, store: str, tenant: str, *, owner: str, confirmed: int, lease_ms: int
) -> Watched | None:
    """Take or renew the lease and plan the next value, which is a time: higher than all before, and odd if what is
    confirmed is even. `confirmed` is what this owner knows the store to have. None while another process holds it."""
    given = {"store": store, "tenant": tenant, "owner": owner, "confirmed": confirmed, "lease": lease_ms}
    (rows,) = await database.write((_BEAT, given))
    return _watched(rows[0]) if rows else None


async def note(
    database: Database, watched: Watched, *, fingerprint: str | None, lost: bool = False, seen: int = 0
) -> None:
    """Keep a new fingerprint. `lost`: everything is owed again, and the sentinel begins anew. `seen`: a value in the
    store that is higher than planned; later ones must be higher still."""
    given = {**_key(watched), "fingerprint": fingerprint, "lost": lost, "seen": seen}
    await database.write((_NOTE, given))


async def look(database: Database, store: str, tenant: str) -> Watched | None:
    """The row as it is now."""
    rows = await database.read(_LOOK, {"store": store, "tenant": tenant})
    return _watched(rows[0]) if rows else None


async def made_good(database: Database, watched: Watched) -> None:
    """The loss is made good, unless there was another one since."""
    await database.write((_MADE_GOOD, {**_key(watched), "noticed": watched.lost}))


async def advance(database: Database, watched: Watched, stage: Stage | None, after: tuple[str, str]) -> None:
    """How far the backfill has come. With no stage left it is done, and the gates are owed as after a loss."""
    given = {**_key(watched), "stage": stage, "after_tenant": after[0], "after_id": after[1]}
    await database.write((_ADVANCE, given))


async def release(database: Database, store: str, tenant: str, *, owner: str, confirmed: int) -> None:
    """Give the lease back, so that the next process need not wait for its end."""
    await database.write((_RELEASE, {"store": store, "tenant": tenant, "owner": owner, "confirmed": confirmed}))


def _key(watched: Watched) -> dict[str, str]:
    return {"store": watched.store, "tenant": watched.tenant}


def _watched(row: Row) -> Watched:
    return Watched(
        store=row["store"],
        tenant=row["tenant"],
        id=row["id"],
        template=row["template"],
        planned=row["planned"],
        previous=row["previous"],
        confirmed=row["confirmed"],
        fingerprint=row["fingerprint"],
        lost=row["lost"],
        stage=row["stage"],
        after=(row["after_tenant"], row["after_id"]),
    )


_T = sentinel.c
_OWNER = bindparam("owner", type_=Id)
_CONFIRMED = bindparam("confirmed", type_=BigInteger)
_HERE = (_T.store == bindparam("store", type_=Key)) & (_T.tenant == bindparam("tenant", type_=Key))


def _introduce(d: Dialect) -> Any:
    insert = d.insert(sentinel).values(
        store=bindparam("store", type_=Key),
        tenant=bindparam("tenant", type_=Key),
        id=bindparam("id", type_=Id),
        template=bindparam("template", type_=Text),
        stage=literal_column("'deny'"),
    )
    nothing: Any = literal_column("''")
    return insert.on_conflict_do_update(
        index_elements=[_T.store, _T.tenant],
        set_={
            "id": insert.excluded.id,
            "template": insert.excluded.template,
            "confirmed": literal_column("0"),
            "stage": insert.excluded.stage,
            "after_tenant": nothing,
            "after_id": nothing,
        },
        where=_T.template != insert.excluded.template,
    )


def _next(d: Dialect) -> Any:
    """Odd after even, so that its last bit names the sentinel of the two that does not hold the confirmed value."""
    value = d.greatest(_T.planned + literal_column("1"), d.now())
    return value + (value - d.greatest(_T.confirmed, _CONFIRMED) + literal_column("1")) % literal_column("2")


_INTRODUCE = Statement(_introduce)
_BEAT = Statement(
    lambda d: (
        update(sentinel)
        .where(_HERE, or_(_T.leased <= d.now(), _T.owner == _OWNER))
        .values(
            owner=_OWNER,
            leased=d.now() + bindparam("lease", type_=BigInteger),
            confirmed=d.greatest(_T.confirmed, _CONFIRMED),
            previous=_T.planned,
            planned=_next(d),
        )
        .returning(*_T)
    )
)
_NOTE = Statement(
    lambda d: (
        update(sentinel)
        .where(_HERE)
        .values(
            fingerprint=bindparam("fingerprint", type_=Text),
            lost=case((bindparam("lost", type_=Boolean), d.now()), else_=_T.lost),
            confirmed=case((bindparam("lost", type_=Boolean), literal_column("0")), else_=_T.confirmed),
            planned=d.greatest(_T.planned, bindparam("seen", type_=BigInteger)),
        )
    )
)
_LOOK = Statement(lambda d: select(sentinel).where(_HERE))
_MADE_GOOD = Statement(
    lambda d: update(sentinel).where(_HERE, _T.lost == bindparam("noticed", type_=BigInteger)).values(lost=null())
)
_ADVANCE = Statement(
    lambda d: (
        update(sentinel)
        .where(_HERE)
        .values(
            stage=bindparam("stage", type_=Key),
            after_tenant=bindparam("after_tenant", type_=Key),
            after_id=bindparam("after_id", type_=Key),
            lost=case((bindparam("stage", type_=Key).is_(None), func.coalesce(_T.lost, d.now())), else_=_T.lost),
        )
    )
)
_RELEASE = Statement(
    lambda d: (
        update(sentinel)
        .where(_HERE, _T.owner == _OWNER)
        .values(leased=literal_column("0"), confirmed=d.greatest(_T.confirmed, _CONFIRMED))
    )
)
