"""L4: sessions in the server's own database end in the very commit that makes somebody inactive, by every route."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from standing.firm import Firm, House
from storage.opened import rows
from termination.crm import PostgresCrm, SqlCrm
from termination.scene import ROUTES, USER, Person, Scene, playing, sessions_of, until
from web.serving import serving

from scim_server.app import open_deployment
from scim_server.guard import AsyncGuard
from scim_server.sessions.registry import read_stores
from scim_server.settings import Settings
from scim_server.storage.outbox import retry
from scim_server.usecases import amends, brake, operations

HEADER = "session-termination"
Shared = SqlCrm | PostgresCrm
Open = Callable[..., Shared]


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    return url


@pytest.fixture
def open_crm(database_url: str) -> Iterator[Open]:
    """Makes a CRM whose tables are in the server's database."""
    made: list[Shared] = []

    def open_(**more: Any) -> Shared:
        if database_url.startswith("sqlite"):
            made.append(SqlCrm(Path(database_url.removeprefix("sqlite:///")), **more))
        else:
            made.append(PostgresCrm(database_url, **more))
        return made[-1]

    yield open_
    for crm in made:
        crm.close()


@pytest.fixture
def crm(open_crm: Open) -> Shared:
    """The plainest."""
    return open_crm()


@pytest.fixture
async def scene(database_url: str, crm: Shared) -> AsyncIterator[Scene]:
    async with playing(database_url, [crm.entry]) as running:
        await running.store_is_known()
        yield running


async def state_of(scene: Scene, person: Person) -> tuple[bool, int]:
    """Whether somebody is stored as active, and their sessions, as one statement sees them."""
    both = text(
        f"SELECT (SELECT active FROM resource WHERE type = 'User' AND id = '{person.id}') AS active,"
        f" (SELECT count(*) FROM user_sessions WHERE subject = '{person.subject}') AS sessions"
    )
    (row,) = await rows(scene.database, both)
    return bool(row["active"]), int(row["sessions"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
async def test_the_commit_ends_the_sessions_and_settles_the_message(scene: Scene, crm: Shared, route: Any) -> None:
    leaver, colleague = await scene.hire(), await scene.hire()
    crm.log_in(leaver.subject)
    crm.log_in(colleague.subject, 1)
    answer = await route(scene, leaver)
    assert sessions_of(answer) == 3
    assert (crm.alive(leaver.subject), crm.alive(colleague.subject)) == (0, 1)
    (kill,) = await scene.kills(leaver)
    assert (kill["outcome"], kill["sessions"], kill["attempts"]) == ("done", 3, 0)
    assert kill["settled"] - kill["created"] < 60_000
    assert crm.gate(leaver.subject) == (kill["epoch"], True, kill["not_before"])
    (receipt,) = (await scene.idp.get(f"http://scim.test/receipts?id={leaver.id}")).json()["receipts"][:1]
    assert receipt["stores"][0]["level"] == "L4"


async def test_nobody_ever_sees_somebody_inactive_who_has_sessions(scene: Scene, crm: Shared) -> None:
    people = [await scene.hire() for _ in range(5)]
    for person in people:
        crm.log_in(person.subject)
        leaving = asyncio.create_task(scene.set_active(person, False))
        seen = set()
        while not leaving.done():
            seen.add(await state_of(scene, person))
            await asyncio.sleep(0)
        assert sessions_of(await leaving) == 3
        assert {*seen, await state_of(scene, person)} <= {(True, 3), (False, 0)}


async def test_a_return_and_a_revocation_are_in_the_commit_too(scene: Scene, crm: Shared) -> None:
    person = await scene.hire()
    await scene.set_active(person, False)
    await scene.set_active(person, True)
    *_, lift = await scene.messages(person)
    assert (lift["action"], lift["outcome"], lift["attempts"]) == ("lift", "done", 0)
    assert crm.gate(person.subject) == (lift["epoch"], False, lift["not_before"])
    crm.log_in(person.subject)
    answer = await scene.idp.send("POST", "/.revoke", {"id": person.id})
    assert sessions_of(answer) == 3
    *_, revoked = await scene.kills(person)
    assert (revoked["sessions"], revoked["attempts"], revoked["echo_due"]) == (3, 0, None)
    assert crm.gate(person.subject) == (revoked["epoch"], False, revoked["not_before"])


async def test_a_rename_ends_the_old_name_and_a_creation_lifts_it(scene: Scene, crm: Shared) -> None:
    person = await scene.hire("before")
    crm.log_in("before")
    await scene.patch(person, {"op": "replace", "path": "externalId", "value": "after"})
    (kill,) = await scene.kills(person)
    assert (kill["subject"], kill["sessions"], kill["attempts"]) == ("before", 3, 0)
    heir = await scene.hire("before")
    (lift,) = await scene.messages(heir)
    assert (lift["action"], lift["attempts"], lift["outcome"]) == ("lift", 0, "done")
    assert crm.gate("before") == (lift["epoch"], False, lift["not_before"])


async def test_an_operator_and_bulk_go_the_same_way(scene: Scene, crm: Shared) -> None:
    people = [await scene.hire() for _ in range(3)]
    for person in people:
        crm.log_in(person.subject, 1)
    operations = [
        {
            "method": "PUT",
            "path": f"/Users/{person.id}",
            "data": {"schemas": [USER], "userName": person.user_name, "active": False},
        }
        for person in people
    ]
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations}
    assert sessions_of(await scene.idp.send("POST", "/Bulk", body)) == 3
    assert {(kill["sessions"], kill["attempts"]) for one in people for kill in await scene.kills(one)} == {(1, 0)}


async def test_a_statement_that_fails_costs_the_write_nothing_and_is_made_good_in_order(
    scene: Scene, crm: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    person = await scene.hire()
    crm.log_in(person.subject)
    crm.run("ALTER TABLE user_sessions RENAME TO elsewhere")
    answer = await scene.set_active(person, False)
    assert (answer.status_code, answer.json()["active"]) == (200, False)
    assert answer.headers[HEADER] == 'pending; stores="crm"'
    assert "told after the commit" in caplog.text
    assert (await scene.set_active(person, True)).status_code == 200  # must not overtake what waits
    assert [row["settled"] for row in await scene.messages(person)] == [None, None]
    crm.run("ALTER TABLE elsewhere RENAME TO user_sessions")
    await retry(scene.database)  # what is refused waits 15 s
    await scene.all_delivered(20)
    kill, lift = await scene.messages(person)
    assert (kill["sessions"], kill["outcome"], lift["outcome"]) == (3, "done", "done")
    assert kill["attempts"] > 0
    assert crm.gate(person.subject) == (lift["epoch"], False, lift["not_before"])


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_row_that_the_crm_has_locked_does_not_hold_up_the_write(database_url: str, open_crm: Open) -> None:
    crm = open_crm(budget_ms=300)
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        person = await scene.hire()
        crm.log_in(person.subject)
        holder = await asyncpg.connect(database_url)
        await holder.execute("BEGIN; UPDATE user_sessions SET sid = sid")
        answer = await asyncio.wait_for(scene.set_active(person, False), 60)
        assert (answer.status_code, answer.headers[HEADER]) == (200, 'pending; stores="crm"')
        assert (await scene.idp.get(f"/Users/{person.id}")).json()["active"] is False
        await until(lambda: (crm.gate(person.subject) or (0, False))[1], 10)  # the worker's way: the gate first
        await holder.close()
        await scene.all_delivered(20)
        assert crm.alive(person.subject) == 0


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_table_that_stays_locked_is_not_waited_for_by_one_commit_after_the_other(
    database_url: str, open_crm: Open, caplog: pytest.LogCaptureFixture
) -> None:
    crm = open_crm(budget_ms=100)
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        people = [await scene.hire() for _ in range(6)]
        crm.log_in(people[-1].subject)
        holder = await asyncpg.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE user_sessions")
        for person in people:
            answer = await scene.set_active(person, False)
            assert (answer.status_code, answer.headers[HEADER]) == (200, 'pending; stores="crm"')
        assert caplog.text.count("told after the commit") in (3, 4)  # who is last may be the one of the next second
        await holder.close()
        await scene.all_delivered(20)
        assert crm.alive(people[-1].subject) == 0


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("local", ["true", "false"])
async def test_settings_that_a_trigger_of_the_crm_changes_end_with_its_statement(
    database_url: str, open_crm: Open, local: str
) -> None:
    crm = open_crm()
    crm.run(
        f"CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM set_config('search_path', '', {local}), set_config('role', 'pg_monitor', {local}),"
        f" set_config('statement_timeout', '1', {local}); RETURN old; END $$;"
        "CREATE TRIGGER lost AFTER DELETE ON user_sessions FOR EACH ROW EXECUTE FUNCTION lost()"
    )
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        for _ in range(3):
            person = await scene.hire()
            crm.log_in(person.subject)
            assert sessions_of(await scene.set_active(person, False)) == 3
            assert [kill["attempts"] for kill in await scene.kills(person)] == [0]


async def test_what_the_crm_defers_to_the_end_of_the_transaction_is_looked_at_before(
    database_url: str, open_crm: Open
) -> None:
    crm = open_crm()
    crm.run(
        "CREATE TABLE carts (sid TEXT REFERENCES user_sessions DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO user_sessions VALUES ('s', 'shopper'); INSERT INTO carts VALUES ('s');"
    )
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        person = await scene.hire("shopper")
        answer = await scene.set_active(person, False)
        assert answer.status_code == 200
        assert (await scene.kills(person))[0]["attempts"] > 0
        crm.run("DELETE FROM carts")
        await scene.all_delivered(20)
        assert crm.alive("shopper") == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_statement_that_takes_too_long_is_given_up_with_no_harm_to_others(
    database_url: str, open_crm: Open
) -> None:
    slow = (
        "DELETE FROM user_sessions WHERE subject = :subject AND"
        " (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n) > 0"
    )
    crm = open_crm(statements=[slow], budget_ms=10)
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        person = await scene.hire()
        crm.log_in(person.subject)
        leaving = asyncio.create_task(scene.set_active(person, False))
        others = await asyncio.gather(*(scene.hire() for _ in range(5)))
        answer = await leaving
        assert (answer.status_code, answer.headers[HEADER]) == (200, 'pending; stores="crm"')
        assert len({other.id for other in others}) == 5
        await scene.all_delivered(40)
        (kill,) = await scene.kills(person)
        assert crm.alive(person.subject) == 0
        assert kill["attempts"] > 0


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_login_under_way_during_the_commit_does_not_survive_the_answer(
    database_url: str, open_crm: Open
) -> None:
    """Its session is committed after ours were looked for and before our gate can be seen: the second look finds it."""
    crm = open_crm(
        statements=[
            "DELETE FROM user_sessions WHERE subject = :subject",
            "UPDATE pause SET seen = seen + 1 WHERE subject = :subject AND seen = 0 AND pg_sleep(0.5) IS NOT NULL",
        ]
    )
    crm.run("CREATE TABLE pause (subject TEXT, seen INTEGER)")
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        person = await scene.hire()
        crm.run(f"INSERT INTO pause VALUES ('{person.subject}', 0)")
        connection = await asyncpg.connect(database_url)

        async def read(subject: str) -> str | None:
            query = "SELECT epoch, denied, not_before FROM scim_gate WHERE subject = $1"
            row = await connection.fetchrow(query, subject)
            return ":".join(map(str, row)) if row else None

        async def in_between() -> bool:
            return bool(await connection.fetchval("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

        guard = AsyncGuard(read)
        epoch = await guard.begin(person.subject)
        leaving = asyncio.create_task(scene.set_active(person, False))
        await until(in_between, 10)
        crm.log_in(person.subject, 1)
        assert await guard.confirm(person.subject, epoch)  # the guard cannot know yet
        assert sessions_of(await leaving) == 2  # the row of `pause` that changed, and the session
        assert crm.alive(person.subject) == 0
        assert not await guard.check(person.subject, epoch)
        (kill,) = await scene.kills(person)
        assert (kill["attempts"], kill["sessions"], kill["echoes"]) == (0, 2, 0)
        await connection.close()


async def test_keys_that_are_no_texts_are_converted(database_url: str, open_crm: Open) -> None:
    key = "INTEGER" if database_url.startswith("sqlite") else "UUID"
    crm = open_crm(subject="{id}", statements=["DELETE FROM keys WHERE owner = :subject"], gate_statement=None)
    crm.run(f"CREATE TABLE keys (owner {key})")
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        person = await scene.hire()
        crm.run(f"INSERT INTO keys VALUES ('{person.id}')")
        assert sessions_of(await scene.set_active(person, False)) == 1
        (kill,) = await scene.kills(person)
        assert kill["attempts"] == 0


async def test_who_does_not_want_it_is_told_after_the_commit(database_url: str, open_crm: Open) -> None:
    crm = open_crm(same_commit=False)
    async with playing(database_url, [crm.entry]) as scene:
        await scene.store_is_known()
        person = await scene.hire()
        crm.log_in(person.subject)
        assert sessions_of(await scene.set_active(person, False)) == 3
        (kill,) = await scene.kills(person)
        assert (kill["attempts"], kill["sessions"]) == (1, 3)


async def test_what_the_brake_holds_stays_out_of_the_commit(database_url: str, crm: Shared, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, session_stores=tuple(read_stores([crm.entry])))
    async with serving(settings) as server, open_deployment(settings) as parts:
        firm: Firm = await House(server, parts, crm, tmp_path).firm("brake_hold=20%")
        people = await firm.staff(brake.FLOOR + 1)
        said = [(await firm.active(person, False)).headers[HEADER] for person in people]
        held = people[-1]
        assert said[-1] == "held"
        assert (crm.alive(held.subject), crm.gate(held.subject)) == (3, None)
        receipt = await amends.approve(parts.deployment, await firm.operator(), held.id)
        assert receipt is not None
        assert re.match("done; sessions=3;", receipt.header())
        assert firm.is_cut_off(held)
        *_, kill = await firm.messages(held)
        assert (kill["attempts"], kill["sessions"]) == (0, 3)


async def test_who_leaves_an_access_group_is_out_with_the_commit(
    database_url: str, crm: Shared, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, session_stores=tuple(read_stores([crm.entry])))
    async with serving(settings) as server, open_deployment(settings) as parts:
        firm = await House(server, parts, crm, tmp_path).firm("access_groups=CRM Users")
        people = await firm.staff(3)
        group = await firm.group("CRM Users", *people)
        answer = await firm.put(group, "CRM Users", people[0])
        assert answer.headers[HEADER].startswith("done")
        assert all(firm.is_cut_off(person) for person in people[1:])
        for person in people[1:]:
            *_, kill = await firm.messages(person)
            assert (kill["action"], kill["attempts"]) == ("terminate", 0)
        await firm.is_coherent()


async def test_the_check_says_so(database_url: str, crm: Shared, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, session_stores=tuple(read_stores([crm.entry])))
    async with serving(settings) as server, open_deployment(settings) as parts:
        house = House(server, parts, crm, tmp_path)
        await house.firm()
        checked = await asyncio.to_thread(house.run, "sessions", "check")
        assert checked.returncode == 0, checked.stdout
        assert "in the same commit (L4)" in checked.stdout


async def test_the_echo_looks_again_when_nobody_could_after_the_commit(
    database_url: str, open_crm: Open, tmp_path: Path
) -> None:
    crm = open_crm(budget_ms=3_000)  # the echo comes when the request is past that
    settings = Settings(database_url=database_url, session_stores=tuple(read_stores([crm.entry])))
    async with serving(settings) as server, open_deployment(settings) as parts:
        firm = await House(server, parts, crm, tmp_path).firm()
        person, breaker = await firm.hire(), parts.lines["crm"].breaker
        for _ in range(3):
            breaker.record(success=False)
        assert breaker.is_open
        caller = await firm.operator()
        user = await operations.find_user(parts.deployment, caller, person.id)
        assert user is not None
        receipt = await operations.cut_off(parts.deployment, caller, user)
        assert receipt is not None
        assert (receipt.state, receipt.sessions) == ("done", 3)
        crm.log_in(person.subject, 1)  # was under way

        async def echoed() -> bool:
            return bool((await firm.messages(person))[-1]["echoes"])

        await until(echoed, 20)
        *_, kill = await firm.messages(person)
        assert (kill["attempts"], kill["sessions"], crm.alive(person.subject)) == (0, 4, 0)
