"""What is looked at now and then: what it says is true again once the trouble is over, and no fault ends it."""

import asyncio
import math

import pytest
from dispatch.deliveries import Mailbox, ToldStore, lines
from prometheus_client import REGISTRY

from scim_server.clock import new_id, now_ms
from scim_server.dispatch import watch as watching
from scim_server.dispatch.watch import DAY_MS, Watch
from scim_server.storage.access import tenants, tokens
from scim_server.storage.outbox import Settlement, settle
from scim_server.usecases.access import issue_token, revoke_token


async def test_a_revoked_token_needs_no_successor(mailbox: Mailbox) -> None:
    database, watch = mailbox.database, Watch(mailbox.database, {}, now_ms)
    (tenant,) = await tenants(database)
    expires = now_ms() + 3 * DAY_MS
    await issue_token(
        database, tenant, "entra", "scim", expires=expires, actor="test", change_id=new_id(), now=now_ms()
    )
    (token,) = await tokens(database)

    def left() -> float | None:
        return REGISTRY.get_sample_value("scim_token_days_left", {"tenant": "acme", "token": token.id})

    await watch.look()
    assert left() == 2
    await revoke_token(database, token, actor="test", change_id=new_id(), now=now_ms())
    await watch.look()
    assert left() == math.inf


async def test_a_store_that_left_the_configuration_is_empty_in_the_end(mailbox: Mailbox) -> None:
    watch = Watch(mailbox.database, {}, now_ms)

    def waiting() -> float | None:
        return REGISTRY.get_sample_value("scim_outbox_waiting", {"store": "bygone"})

    (message,) = await mailbox.leave("ann", store="bygone")
    await watch.look()
    assert waiting() == 1
    await settle(mailbox.database, [Settlement(message.id, "done")])
    await watch.look()
    assert waiting() == 0


async def test_a_fault_does_not_end_it(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = asyncio.Semaphore(0)

    async def broken(*_: object) -> None:
        looks.release()
        raise ZeroDivisionError

    monkeypatch.setattr(watching, "EVERY_S", 0)
    monkeypatch.setattr(watching, "forget", broken)
    watch = Watch(mailbox.database, lines(ToldStore()), now_ms)
    watch.start()
    async with asyncio.timeout(40):
        for _ in range(3):
            await looks.acquire()
    await watch.aclose()
    assert "ZeroDivisionError" in caplog.text
