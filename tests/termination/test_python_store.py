"""A server whose sessions a function ends: before the answer, or by the worker."""

import pytest
from sessions import crm_functions
from termination.crm import PATIENT
from termination.scene import playing, sessions_of, until

ENTRY = {
    "name": "crm",
    "kind": "python",
    "subject": "{externalId}",
    "function": "sessions.crm_functions:end_sessions",
    "budget_ms": PATIENT["budget_ms"],
}


@pytest.fixture(autouse=True)
def empty_crm() -> None:
    crm_functions.forget_all()


async def test_the_answer_counts_what_the_function_ended(sqlite_database: str) -> None:
    async with playing(sqlite_database, [ENTRY]) as scene:
        person = await scene.hire()
        crm_functions.SESSIONS[person.subject] = {"a", "b"}
        assert sessions_of(await scene.set_active(person, False)) == 2
        assert crm_functions.SESSIONS == {}
        await scene.set_active(person, True)
        assert not crm_functions.GATES[person.subject].denied


async def test_a_function_that_is_not_inline_is_called_by_the_worker(sqlite_database: str) -> None:
    async with playing(sqlite_database, [{**ENTRY, "inline": False}]) as scene:
        person = await scene.hire()
        crm_functions.SESSIONS[person.subject] = {"a"}
        answer = await scene.set_active(person, False)
        assert answer.headers["session-termination"] == 'pending; stores="crm"'
        await until(lambda: crm_functions.SESSIONS == {}, 10)
