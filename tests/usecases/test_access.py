"""Tokens and tenants against a clock of the test's own."""

import asyncio
from typing import Any

import pytest

from scim_server.clock import new_id
from scim_server.protocol.errors import Forbidden, TooManyRequests, Unauthorized
from scim_server.protocol.schemas import GROUP, USER
from scim_server.storage import access as rows
from scim_server.storage.access import TenantRow, TokenRow
from scim_server.storage.database import Database
from scim_server.usecases import access
from scim_server.usecases.access import CACHE_MS, DAY_MS, SCOPES, Authenticator, Caller, days_left, digest
from scim_server.usecases.options import TenantOptions

NOW = 1_800_000_000_000


def stamp(now: int = NOW) -> dict[str, Any]:
    return {"actor": "test", "change_id": new_id(), "now": now}


@pytest.fixture
async def tenant(database: Database) -> TenantRow:
    name = f"t{new_id()}"
    await access.create_tenant(database, name, new_id=new_id(), **stamp())
    row = await rows.tenant_named(database, name)
    assert row is not None
    return row


async def row_of(database: Database, token: str) -> TokenRow:
    return next(row for row in await rows.tokens(database) if row.id == token.split("_")[1])


async def test_a_token_says_who_calls_and_is_stored_as_a_digest_only(database: Database, tenant: TenantRow) -> None:
    token = await access.issue_token(database, tenant, "entra", "scim:read", expires=None, **stamp())

    caller = await Authenticator(database).caller(token, "request-1", NOW)

    assert (caller.tenant_id, caller.tenant, caller.scope, caller.request_id) == (
        tenant.id, tenant.name, "scim:read", "request-1"
    )  # fmt: skip
    assert caller.actor == f"token:{token.split('_')[1]}"
    assert token not in repr(await rows.tokens(database))
    assert digest(token) != digest(token + " ")
    assert len(token.split("_", 2)[2]) == 43  # 256 bits in base64


async def test_two_tokens_are_valid_at_once_until_one_is_revoked(database: Database, tenant: TenantRow) -> None:
    old, new = [await access.issue_token(database, tenant, "okta", "scim", expires=None, **stamp()) for _ in range(2)]
    known, fresh = Authenticator(database), Authenticator(database)
    for token in (old, new):
        await known.caller(token, "", NOW)

    await access.revoke_token(database, await row_of(database, old), **stamp(NOW + 1))

    with pytest.raises(Unauthorized):
        await fresh.caller(old, "", NOW + 2)
    await known.caller(old, "", NOW + CACHE_MS - 1)  # remembered for a second, not longer
    with pytest.raises(Unauthorized):
        await known.caller(old, "", NOW + CACHE_MS)
    await known.caller(new, "", NOW + CACHE_MS)


async def test_a_token_expires_to_the_millisecond_even_while_remembered(database: Database, tenant: TenantRow) -> None:
    token = await access.issue_token(database, tenant, "x", "scim", expires=NOW + 10, **stamp())
    authenticator = Authenticator(database)

    await authenticator.caller(token, "", NOW + 9)

    with pytest.raises(Unauthorized):
        await authenticator.caller(token, "", NOW + 10)


@pytest.mark.parametrize("token", ["", "x", "scim__", "scim_0_0", "\udcff", "\x00", "x" * 100_000])
async def test_any_other_text_is_unknown(database: Database, token: str) -> None:
    with pytest.raises(Unauthorized):
        await Authenticator(database).caller(token, "", NOW)


async def test_options_and_a_freeze_are_felt_within_a_second(database: Database, tenant: TenantRow) -> None:
    token = await access.issue_token(database, tenant, "x", "scim", expires=None, **stamp())
    authenticator = Authenticator(database)
    assert (await authenticator.caller(token, "", NOW)).options == TenantOptions()

    changed = await access.set_options(database, tenant, ["profile=rfc"], (USER, GROUP), **stamp())
    await access.freeze(database, changed, NOW + 60_000, **stamp())
    caller = await authenticator.caller(token, "", NOW + CACHE_MS)

    assert caller.options.profile == "rfc"
    with pytest.raises(TooManyRequests) as refused:
        caller.require_write(NOW + 30_001)
    assert refused.value.headers["Retry-After"] == "30"
    caller.require_write(NOW + 60_000)


async def test_a_bootstrap_token_may_be_issued_at_every_start(database: Database, tenant: TenantRow) -> None:
    text = f"operator-{new_id()}-{new_id()}"

    for _ in range(2):
        issued = await access.issue_token(database, tenant, "boot", "scim", expires=None, text=text, **stamp())
        assert issued == text

    assert (await Authenticator(database).caller(text, "", NOW)).tenant_id == tenant.id


async def test_a_tenant_is_made_once_however_many_ask(database: Database) -> None:
    name = f"t{new_id()}"

    made = await asyncio.gather(*(access.create_tenant(database, name, new_id=new_id(), **stamp()) for _ in range(16)))

    assert len(set(made)) == 1


@pytest.mark.parametrize("scope", SCOPES)
def test_only_the_full_scope_writes(scope: str) -> None:
    caller = Caller("t", "t", TenantOptions(), "token:x", scope, "")

    if scope == "scim":
        caller.require_write(NOW)
    else:
        with pytest.raises(Forbidden):
            caller.require_write(NOW)


def test_days_left() -> None:
    row = TokenRow("id", "tenant", "name", "scim", NOW, NOW + 2 * DAY_MS, None, None)

    assert days_left(row, NOW) == 2
    assert days_left(row, NOW + 1) == 1
    assert days_left(row, NOW + 3 * DAY_MS) == -1
    assert days_left(TokenRow("id", "tenant", "name", "scim", NOW, None, None, None), NOW) is None
