"""After schemas changed, `reindex` makes the old resources be found by the new ones; on both databases."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from storage.opened import rows
from web.serving import Server, Tenant, serving, stamp

from scim_server.app import Parts, open_deployment
from scim_server.settings import Settings
from scim_server.storage.statements import Statement
from scim_server.storage.tables import indexing, resource, resource_value
from scim_server.usecases import access, reindex
from scim_server.usecases.reindex import Progress

BADGE = "urn:example:schemas:extension:Badge"
NUMBERS = [f"N{number}" for number in range(7)]


def own(**characteristics: Any) -> str:
    schema = {"id": BADGE, "attributes": [{"name": "number", **characteristics}, {"name": "color"}]}
    extended = {"name": "User", "endpoint": "/Users", "schemaExtensions": [{"schema": BADGE, "required": False}]}
    return f"schemas={json.dumps([schema, extended])}"


async def changed(server: Server, tenant: Tenant, *assignments: str) -> None:
    types = server.settings.served_types
    tenant.row = await access.set_options(server.database, tenant.row, list(assignments), types, **stamp())
    tenant.token = await tenant.issue()


async def run(server: Server, tenant: Tenant, *, force: bool = False, stop_after: int | None = None) -> Progress | None:
    """The end of a reindex of this tenant's users; None when there was nothing to do."""
    async with open_deployment(server.settings) as parts:
        for work in await reindex.outdated(parts.deployment, everything=force):
            if work.tenant.name == tenant.row.name and work.rt.name == "User":
                return await _run(parts, work, stop_after)
    return None


async def _run(parts: Parts, work: reindex.Outdated, stop_after: int | None) -> Progress:
    progress = Progress()
    async for progress in reindex.reindex(parts.deployment, work):
        if stop_after is not None and progress.seen >= stop_after:
            break
    return progress


async def found(tenant: Tenant, text: str) -> list[str]:
    return sorted(user["userName"] for user in (await tenant.found("/Users", filter=text))["Resources"])


@pytest.fixture
async def tenant(server: Server) -> Tenant:
    """Users with a badge number that has no index."""
    tenant = await server.tenant(own())
    async with open_deployment(server.settings) as parts:
        await reindex.outdated(parts.deployment)  # as at the start of a server
    for number in NUMBERS:
        await tenant.user(number.lower(), **{BADGE: {"number": number, "color": "red"}})
    return tenant


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "BATCH", 3)


@pytest.mark.usefixtures("small_batches")
async def test_a_newly_indexed_attribute_finds_those_of_before(server: Server, tenant: Tenant) -> None:
    assert await run(server, tenant) is None
    await changed(server, tenant, own(uniqueness="server"))
    assert await run(server, tenant) == Progress(7, 7)
    for number in NUMBERS:
        assert await found(tenant, f'{BADGE}:number eq "{number}"') == [number.lower()]
    twin = await tenant.send("POST", "/Users", {"userName": "x", BADGE: {"number": "n3"}})
    assert twin.status_code == 409
    assert await run(server, tenant) is None
    assert await run(server, tenant, force=True) == Progress(7, 0)
    user = (await tenant.found("/Users", filter='userName eq "n3"'))["Resources"][0]
    assert user["meta"]["version"] == 'W/"2"'
    assert user["meta"]["lastModified"] == user["meta"]["created"]  # to clients nothing has changed


async def test_characteristics_that_changed_hold_for_those_of_before(server: Server, tenant: Tenant) -> None:
    await changed(server, tenant, own(caseExact=True))
    assert await run(server, tenant) == Progress(7, 7)
    assert await found(tenant, f'{BADGE}:number eq "n1"') == []
    assert await found(tenant, f'{BADGE}:number eq "N1"') == ["n1"]
    await changed(server, tenant, "schemas=")
    assert await run(server, tenant) == Progress(7, 7)
    await changed(server, tenant, own())
    assert await run(server, tenant) == Progress(7, 7)
    assert await found(tenant, f'{BADGE}:number eq "n1"') == ["n1"]


@pytest.mark.usefixtures("small_batches")
async def test_it_goes_on_where_it_was_stopped(server: Server, tenant: Tenant) -> None:
    await changed(server, tenant, own(uniqueness="server"))
    assert await run(server, tenant, stop_after=3) == Progress(3, 3)
    assert await run(server, tenant) == Progress(4, 4)
    assert await found(tenant, f'{BADGE}:number eq "n0"') == ["n0"]
    await changed(server, tenant, own())
    assert await run(server, tenant, stop_after=3) == Progress(3, 3)
    await changed(server, tenant, own(caseExact=True))  # other schemas: from the start
    assert await run(server, tenant) == Progress(7, 7)


async def test_beside_clients_that_write(server: Server, tenant: Tenant) -> None:
    await changed(server, tenant, own(uniqueness="server"))
    users = (await tenant.found("/Users"))["Resources"]

    async def write(user: Any) -> None:
        for turn in range(5):
            changes = {"title": str(turn), f"{BADGE}:number": f"{user['userName']}-{turn}"}
            answer = await tenant.patch(f"/Users/{user['id']}", {"op": "replace", "value": changes})
            assert answer.status_code == 200, answer.text

    writers = [asyncio.create_task(write(user)) for user in users]
    progress = await run(server, tenant)
    await asyncio.gather(*writers)
    assert progress is not None
    assert not progress.clashes
    for user in users:
        assert await found(tenant, f'{BADGE}:number eq "{user["userName"]}-4"') == [user["userName"]]
        assert await found(tenant, f'{BADGE}:number eq "{user["userName"]}"') == []
    assert await run(server, tenant, force=True) == Progress(7, 0)


async def test_who_shares_what_is_unique_now_is_named(server: Server, tenant: Tenant) -> None:
    twin = await tenant.user("twin", **{BADGE: {"number": "N1"}})
    await changed(server, tenant, own(uniqueness="server"))
    assert await run(server, tenant) == Progress(8, 8, (twin["id"],))
    assert await found(tenant, f'{BADGE}:number eq "n1"') == ["n1", "twin"]
    assert await run(server, tenant) == Progress(8, 1, (twin["id"],))
    mended = await tenant.patch(f"/Users/{twin['id']}", {"op": "replace", "path": f"{BADGE}:number", "value": "T"})
    assert mended.status_code == 200
    assert await run(server, tenant) == Progress(8, 0)
    assert await run(server, tenant) is None


async def test_group_names_that_become_unique(server: Server) -> None:
    tenant = await server.tenant("group_names=any")
    group = await tenant.group(name="Sales")
    await changed(server, tenant, "group_names=unique")
    async with open_deployment(server.settings) as parts:
        works = [w for w in await reindex.outdated(parts.deployment) if w.tenant.name == tenant.row.name]
        assert [work.rt.name for work in works] == ["Group"]
        assert await _run(parts, works[0], None) == Progress(1, 1)
    assert (await tenant.send("POST", "/Groups", {"displayName": "SALES"})).status_code == 409
    assert group["id"]


async def test_what_was_damaged_is_mended(server: Server, tenant: Tenant) -> None:
    await tenant.user("mail", emails=[{"value": "a@people.example"}])
    mine = resource.c.tenant_id == tenant.row.id
    nothing = Statement(lambda _: update(resource).where(mine).values(search="{}", external_id="wrong"))
    await server.database.write((nothing, {}))
    assert await run(server, tenant, force=True) == Progress(8, 8)
    assert await found(tenant, 'emails[value sw "a@"]') == ["mail"]
    left = (
        select(func.count().label("n")).select_from(resource_value).where(resource_value.c.tenant_id == tenant.row.id)
    )
    assert (await rows(server.database, left))[0]["n"] == 1
    known = select(indexing).where(indexing.c.tenant_id == tenant.row.id, indexing.c.type == "User")
    assert (await rows(server.database, known))[0]["target"] is None


async def test_a_server_says_once_at_start_what_has_to_be_done(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Settings(database_url=sqlite_url)) as server:
        tenant = await server.tenant()
        await tenant.user("a")
        async with open_deployment(server.settings) as parts:
            await reindex.outdated(parts.deployment)
        assert await run(server, tenant) is not None  # nothing had been noted when the user came
    (tmp_path / "own.json").write_text(own(uniqueness="server").removeprefix("schemas="))
    with caplog.at_level(logging.WARNING):
        async with serving(Settings(database_url=sqlite_url)):
            assert not [r for r in caplog.records if "reindex" in r.getMessage()]
        async with serving(Settings(database_url=sqlite_url, schemas_dir=str(tmp_path))) as server:
            (said,) = [r.getMessage() for r in caplog.records if "reindex" in r.getMessage()]
            assert tenant.row.name in said
            assert await run(server, tenant) is not None
            caplog.clear()
        async with serving(Settings(database_url=sqlite_url, schemas_dir=str(tmp_path))):
            assert not [r for r in caplog.records if "reindex" in r.getMessage()]
