"""Tenants and tokens as stored. A token is kept as the SHA-256 of its whole text, never the text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Text, insert, or_, select, update

from scim_server.storage.change import Audit
from scim_server.storage.database import Database, Row
from scim_server.storage.dialects import Dialect
from scim_server.storage.statements import Parameters, Statement, bound
from scim_server.storage.tables import Id, Key, audit, tenant, token

LAST_USED_GRAIN_MS = 60_000


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant; `options` as set, without defaults; times in unix ms."""

    id: str
    name: str
    options: Mapping[str, Any]
    created: int
    frozen_until: int | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without its secret; times in unix ms."""

    id: str
    tenant_id: str
    name: str
    scope: str
    created: int
    expires: int | None
    last_used: int | None
    revoked: int | None


async def create_tenant(database: Database, row: TenantRow, note: Audit, change_id: str) -> None:
    """Insert a tenant. Raises Taken when the name exists."""
    given = {**_tenant_values(row), "created": row.created}
    await database.write((_INSERT_TENANT, given), _note(note, row.id, change_id, row.created))


async def set_tenant(database: Database, row: TenantRow, note: Audit, change_id: str, at: int) -> None:
    """Store a tenant's options and freeze."""
    await database.write((_UPDATE_TENANT, _tenant_values(row)), _note(note, row.id, change_id, at))


async def tenants(database: Database) -> list[TenantRow]:
    """All tenants by name."""
    return [_tenant(row) for row in await database.read(_TENANTS, {})]


async def tenant_named(database: Database, name: str) -> TenantRow | None:
    """One tenant by name."""
    rows = await database.read(_TENANT_NAMED, {"name": name})
    return _tenant(rows[0]) if rows else None


async def create_token(database: Database, row: TokenRow, digest: str, note: Audit, change_id: str) -> None:
    """Insert a token under its hash. Raises Taken when it exists."""
    given = {
        "id": row.id,
        "tenant_id": row.tenant_id,
        "name": row.name,
        "hash": digest,
        "scope": row.scope,
        "created": row.created,
        "expires": row.expires,
    }
    await database.write((_INSERT_TOKEN, given), _note(note, row.tenant_id, change_id, row.created))


async def token_by_hash(database: Database, digest: str) -> tuple[TokenRow, TenantRow] | None:
    """The token with this SHA-256 (hex) and its tenant, revoked and expired ones too."""
    rows = await database.read(_TOKEN_BY_HASH, {"hash": digest})
    if not rows:
        return None
    row = rows[0]
    owner = TenantRow(
        row["tenant_id"],
        row["tenant_name"],
        orjson.loads(row["options"]),
        row["tenant_created"],
        row["frozen_until"],
    )
    return _token(row), owner


async def tokens(database: Database) -> list[TokenRow]:
    """All tokens of all tenants, oldest first."""
    return [_token(row) for row in await database.read(_TOKENS, {})]


async def revoke_token(database: Database, row: TokenRow, note: Audit, change_id: str, at: int) -> None:
    """Make a token worthless from now on."""
    given = {"id": row.id, "at": at}
    await database.write((_REVOKE_TOKEN, given), _note(note, row.tenant_id, change_id, at))


async def touch_token(database: Database, token_id: str, at: int) -> None:
    """Remember that a token was used, to the minute."""
    await database.write((_TOUCH_TOKEN, {"id": token_id, "at": at, "before": at - LAST_USED_GRAIN_MS}))


def _tenant_values(row: TenantRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "options": orjson.dumps(dict(row.options)).decode(),
        "frozen_until": row.frozen_until,
    }


def _note(note: Audit, tenant_id: str, change_id: str, at: int) -> tuple[Statement, Parameters]:
    given = {
        "change_id": change_id,
        "tenant_id": tenant_id,
        "at": at,
        "actor": note.actor,
        "action": note.action,
        "request_id": note.request_id,
        "detail": orjson.dumps(dict(note.detail)).decode(),
    }
    return _AUDIT, given


def _tenant(row: Row) -> TenantRow:
    return TenantRow(row["id"], row["name"], orjson.loads(row["options"]), row["created"], row["frozen_until"])


def _token(row: Row) -> TokenRow:
    return TokenRow(
        row["id"],
        row["tenant_id"],
        row["name"],
        row["scope"],
        row["created"],
        row["expires"],
        row["last_used"],
        row["revoked"],
    )


def _insert_tenant(d: Dialect) -> Any:
    return insert(tenant).values(
        id=bound("id", Id),
        name=bound("name", Key),
        options=d.json("options"),
        created=bound("created", BigInteger),
        frozen_until=bound("frozen_until", BigInteger),
    )


def _update_tenant(d: Dialect) -> Any:
    return (
        update(tenant)
        .where(tenant.c.id == bound("id", Id))
        .values(name=bound("name", Key), options=d.json("options"), frozen_until=bound("frozen_until", BigInteger))
    )


def _tenants(d: Dialect) -> Any:
    columns = (tenant.c.id, tenant.c.name, tenant.c.created, tenant.c.frozen_until)
    return select(*columns, d.json_text(tenant.c.options).label("options")).order_by(tenant.c.name)


def _token_by_hash(d: Dialect) -> Any:
    return (
        select(
            token,
            tenant.c.name.label("tenant_name"),
            tenant.c.created.label("tenant_created"),
            tenant.c.frozen_until,
            d.json_text(tenant.c.options).label("options"),
        )
        .join(tenant, tenant.c.id == token.c.tenant_id)
        .where(token.c.hash == bound("hash", Key))
    )


_INSERT_TENANT = Statement(_insert_tenant)
_UPDATE_TENANT = Statement(_update_tenant)
_TENANTS = Statement(_tenants)
_TENANT_NAMED = Statement(lambda d: _tenants(d).where(tenant.c.name == bound("name", Key)))
_INSERT_TOKEN = Statement(
    lambda d: insert(token).values(
        id=bound("id", Key),
        tenant_id=bound("tenant_id", Id),
        name=bound("name", Text),
        hash=bound("hash", Key),
        scope=bound("scope", Text),
        created=bound("created", BigInteger),
        expires=bound("expires", BigInteger),
    )
)
_TOKEN_BY_HASH = Statement(_token_by_hash)
_TOKENS = Statement(lambda d: select(token).order_by(token.c.created, token.c.id))
_REVOKE_TOKEN = Statement(
    lambda d: (
        update(token)
        .where(token.c.id == bound("id", Key), token.c.revoked.is_(None))
        .values(revoked=bound("at", BigInteger))
    )
)
_TOUCH_TOKEN = Statement(
    lambda d: (
        update(token)
        .where(
            token.c.id == bound("id", Key),
            or_(token.c.last_used.is_(None), token.c.last_used < bound("before", BigInteger)),
        )
        .values(last_used=bound("at", BigInteger))
    )
)
_AUDIT = Statement(
    lambda d: insert(audit).values(
        tenant_id=bound("tenant_id", Id),
        id=bound("change_id", Id),
        at=bound("at", BigInteger),
        actor=bound("actor", Text),
        action=bound("action", Key),
        request_id=bound("request_id", Text),
        detail=d.json("detail"),
    )
)
