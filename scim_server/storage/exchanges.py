"""Requests that wrote, or tried to, as kept for explanation: masked before they come here, forgotten after days."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Integer, Text, delete, select, true

from scim_server.storage.database import Database
from scim_server.storage.statements import Statement, bound
from scim_server.storage.tables import Id, Json, exchange


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request: `sent` and `meant` are masked bodies as JSON values (`meant` None when nothing was rewritten)."""

    tenant_id: str
    request_id: str
    at: int
    method: str
    path: str
    status: int
    error: str | None
    sent: Any
    meant: Any
    quirks: Sequence[str]
    ignored: Sequence[str]


async def keep(database: Database, exchanges: Sequence[Exchange]) -> None:
    """Store several at once."""
    rows = orjson.dumps([_row(one) for one in exchanges]).decode()
    await database.write((_KEEP, {"exchanges": rows}))


async def of_request(database: Database, tenant_id: str, request_id: str) -> list[Exchange]:
    """Those of a request id, newest first."""
    rows = await database.read(_OF_REQUEST, {"tenant_id": tenant_id, "request_id": request_id})
    return [
        Exchange(
            row["tenant_id"],
            row["request_id"],
            row["at"],
            row["method"],
            row["path"],
            row["status"],
            row["error"],
            **orjson.loads(row["content"]),
        )
        for row in rows
    ]


async def forget(database: Database, tenant_id: str, before: int) -> None:
    """Delete a tenant's from before then (unix ms)."""
    await database.write((_FORGET, {"tenant_id": tenant_id, "before": before}))


def _row(one: Exchange) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in _COLUMNS if name != "content"}
    return {**fields, "content": {name: getattr(one, name) for name in ("sent", "meant", "quirks", "ignored")}}


_COLUMNS: dict[str, Any] = {
    "tenant_id": Id,
    "request_id": Text(),
    "at": BigInteger(),
    "method": Text(),
    "path": Text(),
    "status": Integer(),
    "error": Text(),
    "content": Json,
}


def _keep(d: Any) -> Any:
    rows = d.rows("exchanges", _COLUMNS)
    # SQLite reads ON CONFLICT behind a SELECT without WHERE as a join's ON.
    kept = select(*(rows.c[name] for name in _COLUMNS)).where(true())
    insert = d.insert(exchange).from_select(list(_COLUMNS), kept)
    return insert.on_conflict_do_nothing()


_KEEP = Statement(_keep)
_OF_REQUEST = Statement(
    lambda d: (
        select(exchange)
        .where(exchange.c.tenant_id == bound("tenant_id", Id), exchange.c.request_id == bound("request_id", Text))
        .order_by(exchange.c.at.desc())
        .limit(20)
    )
)
_FORGET = Statement(
    lambda d: delete(exchange).where(
        exchange.c.tenant_id == bound("tenant_id", Id), exchange.c.at < bound("before", BigInteger)
    )
)
