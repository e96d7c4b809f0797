"""The worker: order, leases, wake-ups, breakers, several processes, and faults it must outlive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from time import perf_counter

import pytest
from dispatch.deliveries import Mailbox, ToldStore, another_process, away, lines
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from termination.scene import until

from scim_server.dispatch.breaker import FAILURES
from scim_server.dispatch.retry import HTTP_SCHEDULE_S
from scim_server.dispatch.terminator import Line, Terminator
from scim_server.dispatch.worker import Worker
from scim_server.sessions.port import Delivery, Done, Outcome, Retry
from scim_server.storage.database import Database
from scim_server.storage.outbox import Settlement, claim, hasten, next_due, replay, settle
from scim_server.storage.statements import Statement

_AGED = Statement(
    lambda _: text("UPDATE outbox SET created = created - 300000000, tried = created - 300000000, attempts = 13")
)


@asynccontextmanager
async def working(database: Database, made: dict[str, Line]) -> AsyncIterator[Worker]:
    worker = Worker(database, made)
    worker.start()
    try:
        yield worker
    finally:
        await worker.aclose()


async def settled(mailbox: Mailbox, within_s: float = 10) -> None:
    """Return when nothing waits any more."""

    async def nothing_waits() -> bool:
        return None not in await mailbox.outcomes()

    await until(nothing_waits, within_s)


async def test_what_died_with_an_earlier_process_is_found_at_once(mailbox: Mailbox) -> None:
    await mailbox.leave(*(f"p{n}" for n in range(5)))
    store = ToldStore()
    async with working(mailbox.database, lines(store)):
        await settled(mailbox)
    assert {delivery.subject for delivery in store.deliveries} == {f"p{n}" for n in range(5)}
    assert {delivery.tenant for delivery in store.deliveries} == {"acme"}
    assert await mailbox.outcomes() == ["done"] * 5


@pytest.fixture
def hardly_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next poll is so far away that nobody waits for it."""
    monkeypatch.setattr("scim_server.dispatch.worker.POLL_S", 3_600)


@pytest.mark.usefixtures("hardly_polling")
async def test_a_wake_up_brings_delivery_at_once(mailbox: Mailbox) -> None:
    store = ToldStore()
    async with working(mailbox.database, lines(store)) as worker:
        await worker.round_done()
        await mailbox.leave("ann")
        await mailbox.database.wake()
        await store.received(1)
        await settled(mailbox)


async def test_a_lost_wake_up_costs_about_a_second(mailbox: Mailbox) -> None:
    store = ToldStore()
    async with working(mailbox.database, lines(store)) as worker:
        await worker.round_done()
        await mailbox.leave("ann")
        await store.received(1)
        await settled(mailbox)


@pytest.mark.usefixtures("hardly_polling")
async def test_what_the_request_left_is_taken_up_when_it_is_due_not_at_the_next_poll(mailbox: Mailbox) -> None:
    store = ToldStore()
    answers: list[Outcome] = [Retry("a hiccup"), Done(2)]
    store.answer = lambda delivery: answers.pop(0)
    made = lines(store)
    async with working(mailbox.database, made) as worker:
        await worker.round_done()
        await Terminator(mailbox.database, made).deliver_now("acme", await mailbox.leave("ann", delay_ms=3_600_000))
        await store.received(2)  # the first retry is due after 25 to 50 ms
        await settled(mailbox)
    assert await mailbox.outcomes() == ["done"]


async def test_the_claim_of_a_worker_that_died_comes_back_when_its_lease_ends(mailbox: Mailbox) -> None:
    await mailbox.leave("ann")
    store = ToldStore()
    started = perf_counter()
    assert len(await claim(mailbox.database, "crm", 10, lease_ms=400)) == 1  # … and its process is gone
    async with working(mailbox.database, lines(store)):
        await store.received(1)
        assert perf_counter() - started > 0.39
        await settled(mailbox)


async def test_a_lease_keeps_others_away(mailbox: Mailbox) -> None:
    await mailbox.leave("ann")
    (claimed,) = await claim(mailbox.database, "crm", 10)
    assert await claim(mailbox.database, "crm", 10) == []
    due = await next_due(mailbox.database, "crm")
    assert due is not None
    assert 10_000 < due <= 15_000
    await settle(mailbox.database, [Settlement(claimed.id, None, error="away", delay_ms=60_000)])
    await hasten(mailbox.database, "crm")
    assert [again.attempts for again in await claim(mailbox.database, "crm", 10)] == [1]


async def test_nothing_due_is_nothing_to_wait_for(mailbox: Mailbox) -> None:
    assert await next_due(mailbox.database, "crm") is None
    await mailbox.leave("ann", delay_ms=70_000)
    due = await next_due(mailbox.database, "crm")
    assert due is not None
    assert 0 < due <= 70_000
    assert await next_due(mailbox.database, "another") is None


async def test_a_subject_keeps_its_order_and_holds_up_nobody_else(mailbox: Mailbox) -> None:
    store = ToldStore()
    failing = 3

    def at_first_not(delivery: Delivery) -> Outcome:
        nonlocal failing
        if delivery.subject == "ann" and failing:
            failing -= 1
            return Retry("not yet")
        return Done()

    store.answer = at_first_not
    for action in ("terminate", "lift", "terminate"):
        await mailbox.leave("ann", action=action)
        await mailbox.leave("bob", action=action)
    async with working(mailbox.database, lines(store)):
        await settled(mailbox)
    for subject, attempts in (("ann", 6), ("bob", 3)):
        epochs = [d.gate.epoch for d in store.deliveries if d.subject == subject and d.gate]
        assert len(epochs) == attempts
        assert epochs == sorted(epochs)
    assert store.together == 1


plans = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=12)


@pytest.mark.parametrize("mailbox", ["sqlite"], indirect=True)
async def test_order_holds_whatever_fails(mailbox: Mailbox) -> None:
    """For any sequence of messages and failures: each subject's messages succeed in the order they were left."""
    examples: list[list[tuple[str, int]]] = []

    @settings(max_examples=12, database=None)
    @given(plans)
    def collect(plan: list[tuple[str, int]]) -> None:
        examples.append(plan)

    collect()
    for number, plan in enumerate(examples):
        store, fails, order = ToldStore(f"crm{number}"), dict[str, int](), list[tuple[str, int]]()
        for turn, (subject, failures) in enumerate(plan):
            (message,) = await mailbox.leave(subject, action="terminate" if turn % 2 else "lift", store=store.name)
            fails[message.id] = failures

        def answer(delivery: Delivery, fails: dict[str, int] = fails, order: list[tuple[str, int]] = order) -> Outcome:
            if fails[delivery.id]:
                fails[delivery.id] -= 1
                return Retry("once more")
            assert delivery.gate
            order.append((delivery.subject, delivery.gate.epoch))
            return Done()

        store.answer = answer
        line = Line(store)
        async with working(mailbox.database, {store.name: line}) as worker:
            while len(order) < len(plan):
                line.breaker.failures = 0
                await hasten(mailbox.database, store.name)
                worker.wake()
                await worker.round_done()
        for subject in "abc":
            epochs = [epoch for name, epoch in order if name == subject]
            assert epochs == sorted(epochs), plan


async def test_two_processes_never_deliver_the_same_at_the_same_time(mailbox: Mailbox) -> None:
    other = await another_process(mailbox.url)
    delivering: set[str] = set()
    twice: list[str] = []

    async def slowly(delivery: Delivery) -> Outcome:
        if delivery.id in delivering:
            twice.append(delivery.id)
        delivering.add(delivery.id)
        await asyncio.sleep(0.002)
        delivering.discard(delivery.id)
        return Done(1)

    stores = [ToldStore(), ToldStore()]
    for store in stores:
        store.answer = slowly
    async with working(mailbox.database, lines(stores[0])) as one, working(other, lines(stores[1])) as two:
        for batch in range(20):
            await mailbox.leave(*(f"p{batch}-{n}" for n in range(20)))
            one.wake()
            two.wake()
        await settled(mailbox)
    await other.aclose()
    assert twice == []
    ids = [delivery.id for store in stores for delivery in store.deliveries]
    assert len(ids) == len(set(ids)) == 400


async def test_behind_an_open_breaker_it_probes_with_one_a_second_and_then_delivers_everything(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    store = ToldStore()
    told_at: list[float] = []

    def away_by_then(delivery: Delivery) -> Outcome:
        told_at.append(perf_counter())
        return away(delivery)

    store.answer = away_by_then
    made = lines(store)
    await mailbox.leave(*(f"p{n}" for n in range(40)))
    async with working(mailbox.database, made) as worker:
        await store.received(40)
        while made["crm"].breaker.failures < FAILURES:
            await worker.round_done()
        for _ in range(50):
            worker.wake()  # a storm of wake-ups is no storm of probes
        await store.received(42)
        assert all(later - earlier > 0.9 for earlier, later in pairwise(told_at[39:]))
        assert len(store.deliveries) == 42
        store.answer = lambda delivery: Done(1)
        await settled(mailbox, within_s=5)  # one by one it would be forty seconds
    assert made["crm"].breaker.failures == 0
    assert "session store crm is back" in caplog.text


async def test_what_is_replayed_is_tried_for_three_days_more_however_old_it_is(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scim_server.dispatch.worker.POLL_S", 0.01)
    store = ToldStore(inline=False)
    store.answer = away
    (message,) = await mailbox.leave("ann")
    await mailbox.database.write((_AGED, {}))
    async with working(mailbox.database, {"crm": Line(store, http=True)}):
        await settled(mailbox)
        assert await mailbox.outcomes() == ["refused"]
        tries = len(store.deliveries)
        assert await replay(mailbox.database, ids=[message.id]) == 1
        await store.received(tries + len(HTTP_SCHEDULE_S) + 2)
    assert await mailbox.outcomes() == [None]


async def test_a_breaker_closes_again_when_another_process_has_delivered_everything(mailbox: Mailbox) -> None:
    store = ToldStore()
    made = lines(store)
    made["crm"].breaker.failures = 3
    async with working(mailbox.database, made) as worker:
        await worker.round_done()
        assert not made["crm"].breaker.is_open
        (message,) = await mailbox.leave("ann")
        delivered = await Terminator(mailbox.database, made).deliver_now("acme", (message,))
        assert delivered.outcomes == {message.id: Done(1)}


async def test_a_breaker_closes_again_while_another_process_keeps_delivering(mailbox: Mailbox) -> None:
    store = ToldStore()
    made = lines(store)
    made["crm"].breaker.failures = 3
    await mailbox.leave("ann", delay_ms=900)  # new ones all the time, which the other process takes when they are due
    async with working(mailbox.database, made) as worker:
        await worker.round_done()
        assert not made["crm"].breaker.is_open
        assert store.deliveries == []


async def test_a_breaker_stays_open_while_the_store_wants_to_be_left_alone(mailbox: Mailbox) -> None:
    store = ToldStore()
    made = lines(store)
    made["crm"].breaker.failures = 3
    await mailbox.leave("ann", delay_ms=60_000)  # its Retry-After
    async with working(mailbox.database, made) as worker:
        await worker.round_done()
        assert made["crm"].breaker.is_open


async def test_faults_in_adapters_do_not_stop_it(mailbox: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
    store, calls = ToldStore(), 0

    def broken_once(delivery: Delivery) -> Outcome:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return Done(1)

    store.answer = broken_once
    await mailbox.leave("ann")
    async with working(mailbox.database, lines(store)):
        await settled(mailbox)
    assert calls == 2
    assert "ZeroDivisionError" in caplog.text


async def test_a_message_that_hangs_delays_only_its_subject(mailbox: Mailbox) -> None:
    store, release = ToldStore(), asyncio.Event()

    async def held(delivery: Delivery) -> Outcome:
        if delivery.subject == "slow":
            await release.wait()
        return Done(1)

    store.answer = held
    await mailbox.leave("slow", "quick")
    async with working(mailbox.database, lines(store)):
        await store.received(2)
        await mailbox.leave("later", "slow")
        await until(lambda: "later" in [delivery.subject for delivery in store.deliveries], within_s=3)
        await hasten(mailbox.database, "crm")  # as when the store is back: what is under way is not begun again
        await asyncio.sleep(0.5)
        assert [delivery.subject for delivery in store.deliveries].count("slow") == 1
        release.set()
        await settled(mailbox, within_s=5)
    assert [delivery.subject for delivery in store.deliveries].count("slow") == 2
    assert store.together == 1


async def test_what_failed_is_tried_again_while_another_message_hangs(mailbox: Mailbox) -> None:
    store, release = ToldStore(), asyncio.Event()

    async def answer(delivery: Delivery) -> Outcome:
        if delivery.subject == "slow":
            await release.wait()
        first = [one.subject for one in store.deliveries].count("unlucky") == 1
        return Retry("away") if delivery.subject == "unlucky" and first else Done(1)

    store.answer = answer
    await mailbox.leave("slow", "unlucky")
    async with working(mailbox.database, lines(store)):
        # Sooner than its lease would end, on a busy machine too.
        await until(lambda: [one.subject for one in store.deliveries].count("unlucky") == 2, within_s=2)
        release.set()
        await settled(mailbox, within_s=5)


async def test_a_slow_store_delays_no_other(mailbox: Mailbox) -> None:
    slow, quick = ToldStore("slow"), ToldStore("quick")
    released = asyncio.Event()

    async def held(delivery: Delivery) -> Outcome:
        await released.wait()
        return Done()

    slow.answer = held
    await mailbox.leave("ann", store="slow")
    async with working(mailbox.database, lines(slow, quick)) as worker:
        await slow.received(1)
        await mailbox.leave("ann", store="quick")
        worker.wake()
        await quick.received(1)
        released.set()
        await settled(mailbox)
