"""What a function of the CRM's may do wrong, and what that costs: one attempt, never the server."""

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sessions import crm_functions
from sessions.session_benches import TENANT, delivery, make_store
from termination.scene import until

from scim_server.sessions.port import Delivery, Done, Gate, Retry
from scim_server.sessions.registry import StoreConfigError, read_stores

FAULTY = {"name": "crm", "kind": "python"}


def store_of(function: Callable[[Delivery], Any], **more: Any) -> Any:
    return make_store(kind="python", function=function, **more)


async def test_the_function_gets_the_whole_delivery() -> None:
    seen: list[Delivery] = []
    store = store_of(seen.append)
    sent = delivery("ann", 10, data={"userName": "ann@example.com"})
    assert await store.deliver(sent) == Done(0)
    assert seen == [sent]
    assert (sent.tenant, sent.subject, sent.action, sent.gate) == (TENANT, "ann", "terminate", Gate(10, True, 10))


async def test_methods_and_callable_objects_are_functions_too() -> None:
    crm_functions.forget_all()
    for name in ("ender", "ender.end"):
        store = make_store(kind="python", function=f"sessions.crm_functions:{name}")
        assert await store.deliver(delivery("ann", 10)) == Done(0)


def raising(problem: BaseException) -> Callable[[Delivery], Any]:
    def function(delivery: Delivery) -> None:
        raise problem

    return function


def raising_later(problem: BaseException) -> Callable[[Delivery], Any]:
    async def function(delivery: Delivery) -> None:
        raise problem

    return function


@pytest.mark.parametrize("made", [raising, raising_later])
@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (ValueError("no such user\0\ud800\n"), "ValueError: no such user   "),
        (RuntimeError("postgresql://crm:hunter2@db/crm is down"), "RuntimeError: postgresql://crm:***@db/crm is down"),
        (KeyError("ada@example.com"), "KeyError: 'a***@example.com'"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt("stop"), "KeyboardInterrupt: stop"),
        (BaseException("a time-out that no except catches"), "BaseException: a time-out that no except catches"),
    ],
)
async def test_what_it_raises_is_told_masked_and_tried_again(
    made: Callable[[BaseException], Any], problem: BaseException, told: str
) -> None:
    assert await store_of(made(problem)).deliver(delivery("ann", 10)) == Retry(told)


async def test_a_thread_that_says_it_was_cancelled_gives_its_slot_back() -> None:
    store = store_of(raising(asyncio.CancelledError()))
    for _ in range(10):
        assert await store.deliver(delivery("ann", 10)) == Retry("CancelledError: ")


async def test_a_cancellation_from_inside_is_not_ours() -> None:
    outcome = await store_of(raising_later(asyncio.CancelledError())).deliver(delivery("ann", 10))
    assert outcome == Retry("the function was cancelled from inside")


@pytest.mark.parametrize("result", ["3", 2.0, True, -1, [1], 2**31])
async def test_only_numbers_of_sessions_are_believed(result: Any) -> None:
    outcome = await store_of(lambda _: result).deliver(delivery("ann", 10))
    assert isinstance(outcome, Retry)
    assert "return the number of sessions" in outcome.why


async def test_a_coroutine_that_hangs_is_given_up_even_if_it_will_not_be_cancelled() -> None:
    stop = asyncio.Event()

    async def stubborn(_: Delivery) -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    store = store_of(stubborn, timeout_ms=20)
    assert await store.deliver(delivery("ann", 10)) == Retry("the function did not return within 20 ms")
    stop.set()
    await until(lambda: not store._running, 5)


async def test_threads_that_hang_are_eight_at_most_and_give_their_slots_back() -> None:
    go, running = threading.Event(), []

    def hang(one: Delivery) -> None:
        running.append(one.subject)
        go.wait(30)

    store = store_of(hang, timeout_ms=1_000)
    outcomes = await asyncio.gather(*(store.deliver(delivery(f"user-{n}", 10)) for n in range(20)))
    assert {type(outcome) for outcome in outcomes} == {Retry}
    assert len(running) == 8
    go.set()
    await until(lambda: store._slots._value == 8, 5)
    assert await store.deliver(delivery("ann", 10)) == Done(0)


async def test_a_check_tries_subjects_of_every_type(caplog: pytest.LogCaptureFixture) -> None:
    (found,) = await store_of(lambda one: int(one.subject) * 0).check(TENANT)
    assert (found.ok, caplog.records) == (True, [])
    (found,) = await store_of(raising(OSError("down"))).check(TENANT)
    assert (found.ok, found.what) == (False, "crm: the function failed: OSError: down")


async def test_gates_are_asserted_until_one_fails() -> None:
    seen: list[tuple[str, str]] = []

    def function(one: Delivery) -> int:
        seen.append((one.action, one.subject))
        if one.subject == "eve":
            raise OSError("down")
        return 1

    gates = [("ann", Gate(1, True, 1)), ("x" * 2000, Gate(1, True, 1)), ("bob", Gate(2, False, 2))]
    store = store_of(function)
    assert await store.assert_gates(TENANT, gates) == Done(2)
    assert await store.assert_gates(TENANT, [("eve", Gate(1, True, 1)), *gates]) == Retry("OSError: down")
    assert seen == [("terminate", "ann"), ("lift", "bob"), ("terminate", "eve")]


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (None, 'function: write "module:function"'),
        ("crm.end_sessions", 'function: write "module:function"'),
        ("os:", 'function: write "module:function"'),
        ("nowhere_at_all:end", "function: nowhere_at_all:end cannot be imported: ModuleNotFoundError"),
        ("sessions.crm_functions:nope", "cannot be imported: AttributeError"),
        ("sessions.crm_functions:NOT_A_FUNCTION", "is not a function"),
        ("broken_crm:end", "broken_crm:end cannot be imported: RuntimeError: no settings"),
        ("script_crm:end", "script_crm:end cannot be imported: SystemExit: 3"),
    ],
)
def test_what_cannot_be_imported_is_told_at_start_with_all_else(
    function: Any, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_crm.py").write_text("raise RuntimeError('no settings')\n")
    (tmp_path / "script_crm.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StoreConfigError) as told:
        read_stores([{**FAULTY, "function": function}, {"name": "w", "kind": "webhook"}])
    assert 'session store "crm": ' in told.value.problems[0]
    assert problem in told.value.problems[0]
    assert any('session store "w"' in line for line in told.value.problems)
    assert "broken_crm" not in sys.modules


def test_an_address_has_no_place_here() -> None:
    with pytest.raises(StoreConfigError, match="url: is not a setting of this kind"):
        read_stores([{**FAULTY, "function": "sessions.crm_functions:end_sessions", "url": "https://h"}])
