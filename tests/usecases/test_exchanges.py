"""Records of requests: what waits when a server stops is stored all the same."""

import asyncio
from typing import Any

import pytest

from scim_server.clock import new_id
from scim_server.storage import exchanges
from scim_server.storage.database import Database
from scim_server.usecases.access import Caller
from scim_server.usecases.exchanges import Recorder
from scim_server.usecases.options import TenantOptions


async def test_what_is_being_stored_at_the_end_is_stored(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    storing, keep = asyncio.Event(), exchanges.keep

    async def keep_slowly(*arguments: Any) -> None:
        if not storing.is_set():
            storing.set()
            await asyncio.Event().wait()  # a database that takes its time
        await keep(*arguments)

    monkeypatch.setattr(exchanges, "keep", keep_slowly)
    caller = Caller(new_id(), "acme", TenantOptions(), "token:t", "scim", "r1")
    recorder = Recorder(database)
    recorder.start()
    recorder.record(
        caller,
        at=1,
        method="POST",
        path="/scim/v2/Users",
        status=201,
        error=None,
        sent={},
        meant={},
        quirks=(),
        ignored=(),
    )
    await asyncio.wait_for(storing.wait(), 40)
    await recorder.aclose()
    assert [one.status for one in await exchanges.of_request(database, caller.tenant_id, "r1")] == [201]
