"""Many leavers at once: everybody who left is cut off, nobody else is, and what it costs."""

import asyncio
from collections.abc import Callable
from time import perf_counter

import pytest
from termination.crm import Crm
from termination.scene import DONE, ROUTES, Person, Scene


@pytest.mark.slow
async def test_two_hundred_of_five_hundred_leave_by_five_routes(
    scene: Scene, crm: Crm, record_property: Callable[[str, str], None]
) -> None:
    people: list[Person] = []
    for _ in range(10):
        people += await asyncio.gather(*(scene.hire() for _ in range(50)))
    for person in people:
        crm.log_in(person.subject)
    leavers, stayers = people[:200], people[200:]

    answers = []
    for first in range(0, 200, 20):
        group = leavers[first : first + 20]
        answers += await asyncio.gather(*(ROUTES[n % 5](scene, person) for n, person in enumerate(group)))
        at_once = {person.subject for person, answer in zip(group, answers[first:], strict=True) if _is_done(answer)}
        assert crm.alive(*at_once) == 0
    assert all(answer.status_code in (200, 204) for answer in answers)
    record_property("leavers done inline", f"{sum(map(_is_done, answers))} of 200 ({type(crm).__name__})")
    started = perf_counter()
    await scene.all_delivered(10)
    record_property("rest delivered after", f"{perf_counter() - started:.2f} s")
    assert crm.alive(*(person.subject for person in leavers)) == 0
    assert crm.alive(*(person.subject for person in stayers)) == 900
    for person in leavers:
        (kill,) = await scene.kills(person)
        assert kill["outcome"] == "done"
    assert all([await scene.kills(person) == [] for person in stayers[:20]])


def _is_done(answer: object) -> bool:
    return DONE.fullmatch(answer.headers.get("session-termination", "")) is not None  # type: ignore[attr-defined]


async def test_commit_to_gone(scene: Scene, crm: Crm, record_property: Callable[[str, str], None]) -> None:
    """One after the other, as the receipt itself says it: commit to the store's confirmation."""
    people = await asyncio.gather(*(scene.hire() for _ in range(100)))
    took: list[float] = []
    for person in people:
        crm.log_in(person.subject, 10)
        answer = await scene.set_active(person, False)
        if said := DONE.fullmatch(answer.headers["session-termination"]):
            took.append(float(said[2]))
            assert crm.alive(person.subject) == 0
    took.sort()
    half, most = took[len(took) // 2], took[len(took) * 99 // 100]
    record_property(f"commit to gone, {type(crm).__name__}", f"p50 {half:.1f} ms, p99 {most:.1f} ms of {len(took)}")
    assert half < 150
