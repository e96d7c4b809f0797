"""Delivery before the answer: within its budget, never raising, not stopped by whoever stops waiting."""

import asyncio
import logging

import pytest
from dispatch.deliveries import Mailbox, ToldStore, away, lines, never
from services.postgres import PostgresServer

from scim_server.dispatch.breaker import FAILURES, Breaker
from scim_server.dispatch.terminator import IN_FLIGHT, SHARE, Line, Terminator, slots
from scim_server.dispatch.worker import Worker
from scim_server.sessions.port import Delivery, Done, Outcome, Refused, Retry
from scim_server.storage import schema
from scim_server.storage.outbox import backlog


async def test_what_is_delivered_is_settled_at_once(mailbox: Mailbox) -> None:
    store = ToldStore()
    terminator = Terminator(mailbox.database, lines(store))
    queued = await mailbox.leave("ann", "bob")
    delivered = await terminator.deliver_now("acme", queued)
    assert delivered.outcomes == {message.id: Done(1) for message in queued}
    assert delivered.milliseconds > 0
    assert await mailbox.outcomes() == ["done", "done"]
    sent = store.deliveries[0]
    assert (sent.id, sent.tenant, sent.subject, sent.action) == (queued[0].id, "acme", queued[0].subject, "terminate")
    assert sent.gate is not None
    assert sent.data == {
        "tenant": "acme",
        "userName": sent.subject,
        "epoch": sent.gate.epoch,
        "not_before": sent.timestamp,
    }


async def test_a_store_that_hangs_costs_the_budget_and_leaves_the_rest_to_the_worker(mailbox: Mailbox) -> None:
    hung, fine = ToldStore("hung"), ToldStore("fine")
    hung.answer = never
    terminator = Terminator(mailbox.database, lines(hung, fine))
    queued = await mailbox.leave("ann", store="hung") + await mailbox.leave("ann", store="fine")
    delivered = await terminator.deliver_now("acme", queued)
    assert 150 <= delivered.milliseconds < 2_000
    first, second = (delivered.outcomes[message.id] for message in queued)
    assert first == Retry("no answer within 150 ms")
    assert second == Done(1)
    assert await mailbox.outcomes() == [None, "done"]
    row = (await mailbox.rows())[0]
    assert (row["attempts"], row["error"]) == (1, "no answer within 150 ms")


async def test_after_three_failures_a_dead_store_costs_nothing(mailbox: Mailbox) -> None:
    store = ToldStore()
    store.answer = away
    terminator = Terminator(mailbox.database, lines(store))
    for number in range(3):
        await terminator.deliver_now("acme", await mailbox.leave(f"p{number}"))
    delivered = await terminator.deliver_now("acme", await mailbox.leave("p3"))
    assert delivered.outcomes == {}
    assert len(store.deliveries) == 3


async def test_a_crowd_on_a_hung_store_is_answered_within_one_budget_and_other_stores_are_not_held_up(
    mailbox: Mailbox,
) -> None:
    hung, fine = ToldStore("hung"), ToldStore("fine")
    hung.answer = never
    terminator = Terminator(mailbox.database, lines(hung, fine, budget_s=1))
    stuck = await mailbox.leave(*(f"p{n}" for n in range(100)), store="hung")
    quick = await mailbox.leave("ann", store="fine")
    crowd = asyncio.create_task(terminator.deliver_now("acme", stuck))
    await hung.received(SHARE)
    assert (await terminator.deliver_now("acme", quick)).outcomes == {quick[0].id: Done(1)}
    assert not crowd.done()
    answered = await crowd
    assert answered.milliseconds < 5_000  # in groups of eight it would be thirteen seconds
    outcomes = answered.outcomes
    assert len(outcomes) == 100
    assert all(isinstance(outcome, Retry) for outcome in outcomes.values())
    assert len(hung.deliveries) < SHARE + FAILURES  # until the breaker is open, a slot that comes free is taken


@pytest.mark.parametrize(("stores", "share"), [(1, SHARE), (8, SHARE), (16, 4), (100, 1)])
def test_many_stores_share_what_may_be_in_flight(stores: int, share: int) -> None:
    assert slots(stores)._value == share
    assert share == 1 or share * stores <= IN_FLIGHT


async def test_waiting_for_our_own_slots_is_not_held_against_the_store(mailbox: Mailbox) -> None:
    store = ToldStore()

    async def first_ones_only(delivery: Delivery) -> Outcome:
        if len(store.deliveries) > SHARE:  # who got a slot late, and too little of the budget
            return await never(delivery)
        await asyncio.sleep(0.1)
        return Done(1)

    store.answer = first_ones_only
    made = lines(store, budget_s=2)
    terminator = Terminator(mailbox.database, made)
    await terminator.deliver_now("acme", await mailbox.leave(*(f"p{n}" for n in range(SHARE + 5))))
    assert not made["crm"].breaker.is_open


async def test_whoever_stops_waiting_does_not_stop_the_delivery(mailbox: Mailbox) -> None:
    store, go_on = ToldStore(), asyncio.Event()

    async def when_told(delivery: Delivery) -> Outcome:
        await go_on.wait()
        return Done(1)

    store.answer = when_told
    terminator = Terminator(mailbox.database, lines(store, budget_s=5))
    request = asyncio.create_task(terminator.deliver_now("acme", await mailbox.leave("ann")))
    await store.received(1)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert request.cancelled()
    go_on.set()
    await terminator.drain()
    assert await mailbox.outcomes() == ["done"]


async def test_a_fault_in_an_adapter_costs_a_retry_and_no_answer(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    store = ToldStore()

    def broken(delivery: Delivery) -> Outcome:
        raise KeyError("a bug")

    store.answer = broken
    terminator = Terminator(mailbox.database, lines(store))
    with caplog.at_level(logging.ERROR):
        delivered = await terminator.deliver_now("acme", await mailbox.leave("ann"))
    assert isinstance(next(iter(delivered.outcomes.values())), Retry)
    assert "a bug" in caplog.text
    assert await mailbox.outcomes() == [None]


async def test_a_refusal_is_kept_and_is_no_failure_of_the_line(mailbox: Mailbox) -> None:
    store = ToldStore()
    store.answer = lambda delivery: Refused("rights are missing")
    made = lines(store)
    for number in range(4):
        await Terminator(mailbox.database, made).deliver_now("acme", await mailbox.leave(f"p{number}"))
    assert not made["crm"].breaker.is_open
    assert [row["error"] for row in await mailbox.rows()] == ["rights are missing"] * 4
    (waiting,) = await backlog(mailbox.database)
    assert waiting.waiting == 4


async def test_what_must_not_overtake_is_left_to_the_worker(mailbox: Mailbox) -> None:
    store = ToldStore()
    terminator = Terminator(mailbox.database, lines(store))
    await mailbox.leave("ann")
    (lift,) = await mailbox.leave("ann", action="lift")
    assert lift.blocked
    assert (await terminator.deliver_now("acme", (lift,))).outcomes == {}
    assert store.deliveries == []


async def test_what_a_change_says_of_one_subject_is_said_in_order(mailbox: Mailbox) -> None:
    store = ToldStore()
    kill, notice, other = await mailbox.leave("ann", "ann", "bob")
    delivered = await Terminator(mailbox.database, lines(store)).deliver_now("acme", (notice, other, kill))
    assert {delivery.id for delivery in store.deliveries} == {kill.id, other.id}
    assert delivered.outcomes.keys() == {kill.id, other.id}
    assert sorted(await mailbox.outcomes(), key=str) == [None, "done", "done"]  # the worker's


async def test_stores_that_left_the_configuration_and_those_not_inline_are_not_tried(mailbox: Mailbox) -> None:
    later = ToldStore("later", inline=False)
    terminator = Terminator(mailbox.database, lines(later))
    queued = await mailbox.leave("ann", store="later") + await mailbox.leave("ann", store="gone")
    assert (await terminator.deliver_now("acme", queued)).outcomes == {}
    assert later.deliveries == []


@pytest.mark.usefixtures("patience_as_shipped")
async def test_a_kill_that_cannot_be_settled_is_done_all_the_same_and_settled_later(
    own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Postgres stops between the delivery and its settlement, and comes back."""
    url = own_postgres.create_database()
    await schema.migrate(url)
    mailbox = await Mailbox.open(url)
    store = ToldStore()

    async def while_the_database_goes(delivery: Delivery) -> Outcome:
        await asyncio.to_thread(own_postgres.stop)
        return Done(3)

    store.answer = while_the_database_goes
    made = lines(store, budget_s=10)
    queued = await mailbox.leave("ann")
    worker = Worker(mailbox.database, made)
    try:
        delivered = await Terminator(mailbox.database, made).deliver_now("acme", queued)
        assert delivered.outcomes == {queued[0].id: Done(3)}
        assert "could not settle 1 deliveries" in caplog.text
        store.answer = lambda delivery: Done(0)
        worker.start()
        await worker.round_done()
        assert "waits for the database" in caplog.text
    finally:
        await asyncio.to_thread(own_postgres.start)
    async with asyncio.timeout(40):
        while await mailbox.outcomes() != ["done"]:
            await worker.round_done()
    assert [delivery.id for delivery in store.deliveries] == [queued[0].id] * 2
    await worker.aclose()
    await mailbox.aclose()
    own_postgres.drop_database(url)


def test_lines_do_not_share_what_they_know() -> None:
    one, other = Line(ToldStore("one")), Line(ToldStore("other"))
    assert one.breaker is not other.breaker
    assert one.slots is not other.slots
    assert Breaker() == one.breaker
