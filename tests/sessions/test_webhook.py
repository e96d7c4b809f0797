"""A receiver that answers as told: what was sent, what its answers mean, and what a bad one may cost."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from services.processes import free_port
from sessions.session_benches import TENANT, delivery, make_store
from standardwebhooks import Webhook, WebhookVerificationError

from scim_server.sessions.config import WebhookSettings
from scim_server.sessions.port import Delivery, Done, Gate, Outcome, Refused, Retry, SessionStore
from scim_server.sessions.registry import StoreConfigError, read_stores
from scim_server.sessions.signing import signed_headers, signing_key
from scim_server.sessions.webhook import WebhookStore

SECRET = "whsec_" + base64.b64encode(b"a" * 32).decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"b" * 24).decode()
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Request:
    """One message as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers each request with what `answer` says; None = never."""

    url: str = ""
    answer: Callable[[Request], bytes | None] = lambda request: OK
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode().strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append(Request(line, headers, body))
                answer = self.answer(self.requests[-1])
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/scim"
    yield made
    server.close()
    await server.wait_closed()


@pytest.fixture
async def store(receiver: Receiver) -> AsyncIterator[SessionStore]:
    made = make_store(kind="webhook", url=receiver.url, secret=SECRET)
    yield made
    await made.aclose()


async def test_the_message_is_the_documented_one(receiver: Receiver, store: SessionStore) -> None:
    data = {"tenant": TENANT, "id": "1", "userName": "jürgen", "epoch": 10}
    outcome = await store.deliver(delivery("ann", 1_795_000_000_123, id="0190-a", data=data))
    assert outcome == Done()
    (request,) = receiver.requests
    assert request.line == "POST /hooks/scim HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "0190-a"
    assert json.loads(request.body) == {
        "type": "user.deactivated",
        "timestamp": "2026-11-18T11:06:40.123Z",
        "data": data,
    }


@pytest.mark.parametrize("secret", [SECRET, NEXT_SECRET])
async def test_every_secret_verifies_while_they_change(receiver: Receiver, secret: str) -> None:
    store = make_store(kind="webhook", url=receiver.url, secret=[SECRET, NEXT_SECRET])
    await store.deliver(delivery("ann", 10))
    await store.aclose()
    (request,) = receiver.requests
    Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)


def test_signatures_are_those_of_the_reference_library() -> None:
    headers = signed_headers([signing_key(SECRET)], "msg_1", 1_795_000_000, b'{"a":1}')
    assert headers["webhook-timestamp"] == "1795000000"
    moment = datetime.fromtimestamp(1_795_000_000, UTC)
    assert headers["webhook-signature"] == Webhook(SECRET).sign("msg_1", moment, '{"a":1}')


@pytest.mark.parametrize("secret", ["", "plain", "whsec_*", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_secret_that_is_none_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as problem:
        signing_key(secret)
    assert not secret or secret not in str(problem.value)


async def test_all_kinds_of_deliveries_are_sent(receiver: Receiver, store: SessionStore) -> None:
    assert store.events
    assert not store.inline
    for action in ("terminate", "lift", "notify"):
        assert await store.deliver(delivery("ann", 10, action)) == Done()
    assert len(receiver.requests) == 3
    assert receiver.connections == 1


async def test_a_retry_keeps_its_id_and_takes_a_new_time(receiver: Receiver) -> None:
    (settings,) = read_stores([{"name": "crm", "kind": "webhook", "url": receiver.url, "secret": SECRET}])
    assert isinstance(settings, WebhookSettings)
    times = iter([1_000_000, 1_000_000, 9_000_000, 9_000_000])
    store = WebhookStore(settings, now=lambda: next(times))
    receiver.answer = lambda request: b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"
    for _ in range(2):
        await store.deliver(delivery("ann", 10))
    await store.aclose()
    first, second = (request.headers for request in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1000", "9000")


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, "", Done()),
        (202, "", Done()),
        (410, "", Refused),
        (400, "", Retry),
        (401, "", Retry),
        (404, "", Retry),
        (500, "", Retry),
        (429, "retry-after: 7\r\n", 7_000),
        (503, "retry-after: 120\r\n", 120_000),
        (503, "retry-after: 99999999999\r\n", 86_400_000),
        (503, "retry-after: Mon, 01 Jan 2001 00:00:00 GMT\r\n", 0),
        (503, "retry-after: soon\r\n", None),
        (302, "location: http://127.0.0.1:1/\r\n", Retry),
        (308, "location: http://127.0.0.1:1/\r\n", Retry),
    ],
)
async def test_what_an_answer_means(
    status: int, headers: str, expected: Any, receiver: Receiver, store: SessionStore
) -> None:
    receiver.answer = lambda request: f"HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n".encode()
    outcome = await store.deliver(delivery("ann", 10))
    if isinstance(expected, type):
        assert isinstance(outcome, expected)
        assert str(status) in repr(outcome)
    elif isinstance(expected, Done):
        assert outcome == expected
    else:
        assert isinstance(outcome, Retry)
        assert outcome.after_ms == expected
    assert len(receiver.requests) == 1


async def test_a_date_to_come_back_at_is_kept(receiver: Receiver) -> None:
    (settings,) = read_stores([{"name": "crm", "kind": "webhook", "url": receiver.url, "secret": SECRET}])
    assert isinstance(settings, WebhookSettings)
    store = WebhookStore(settings, now=lambda: 978_307_170_000)
    date = b"retry-after: Mon, 01 Jan 2001 00:00:00 GMT"
    receiver.answer = lambda request: b"HTTP/1.1 503 X\r\n" + date + b"\r\ncontent-length: 0\r\n\r\n"
    outcome = await store.deliver(delivery("ann", 10))
    await store.aclose()
    assert isinstance(outcome, Retry)
    assert outcome.after_ms == 30_000


async def test_an_endless_answer_is_cut_off(receiver: Receiver, store: SessionStore) -> None:
    receiver.answer = lambda request: b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + b"x" * 200_000
    async with asyncio.timeout(30):
        assert await store.deliver(delivery("ann", 10)) == Done()


async def test_a_silent_receiver_is_given_up(receiver: Receiver) -> None:
    store = make_store(kind="webhook", url=receiver.url, secret=SECRET, timeout_ms=50)
    receiver.answer = lambda request: None
    assert await store.deliver(delivery("ann", 10)) == Retry("no answer within 50 ms")
    await store.aclose()


async def test_a_silent_receiver_is_left_at_the_callers_word(receiver: Receiver, store: SessionStore) -> None:
    receiver.answer = lambda request: None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await store.deliver(delivery("ann", 10))
    receiver.answer = lambda request: OK
    assert await store.deliver(delivery("ann", 10)) == Done()


async def test_a_dead_receiver_is_told_at_once_and_without_the_password() -> None:
    store = make_store(kind="webhook", url=f"http://u:hidden-word@127.0.0.1:{free_port()}/", secret=SECRET)
    started = monotonic()
    outcome = await store.deliver(delivery("ann", 10))
    assert monotonic() - started < 2
    assert isinstance(outcome, Retry)
    assert "hidden-word" not in outcome.why
    await store.aclose()


async def test_garbage_is_no_answer(receiver: Receiver, store: SessionStore) -> None:
    receiver.answer = lambda request: b"hello\r\n\r\n"
    assert isinstance(await store.deliver(delivery("ann", 10)), Retry)


async def test_the_tenant_in_the_address_is_escaped(receiver: Receiver) -> None:
    store = make_store(kind="webhook", url=receiver.url + "/{tenant}", secret=SECRET)
    await store.deliver(Delivery("1", "a/../b c", "ann", "notify", None, "user.changed", 0))
    await store.aclose()
    assert receiver.requests[0].line == "POST /hooks/scim/a%2F..%2Fb%20c HTTP/1.1"


async def test_a_narrowed_store_reaches_only_what_is_allowed(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")
    closed = make_store(kind="webhook", url=url, secret=SECRET, private_networks=["10.0.0.0/8"])
    outcome = await closed.deliver(delivery("ann", 10))
    await closed.aclose()
    assert isinstance(outcome, Retry)
    assert "localhost leads to" in outcome.why
    assert receiver.connections == 0
    opened = make_store(kind="webhook", url=url, secret=SECRET, private_networks=["127.0.0.0/8"])
    assert await opened.deliver(delivery("ann", 10)) == Done()
    await opened.aclose()
    assert receiver.requests[0].headers["host"] == url.split("/")[2]


def test_a_proxy_would_look_names_up_itself() -> None:
    with pytest.raises(StoreConfigError, match="exclude each other"):
        make_store(kind="webhook", url="https://crm.example/", secret=SECRET, private_networks=[], proxy="http://p:1")


async def test_the_check_wants_forged_messages_refused(receiver: Receiver, store: SessionStore) -> None:
    assert [finding.ok for finding in await store.check(TENANT)] == [True, False]
    receiver.answer = lambda request: OK if _verifies(request) else b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n"
    assert [finding.ok for finding in await store.check(TENANT)] == [True, True]
    receiver.answer = lambda request: b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n"
    (finding,) = await store.check(TENANT)
    assert not finding.ok
    assert json.loads(receiver.requests[-1].body)["type"] == "scim.check"


async def test_there_are_no_gates_and_sessions_to_ask_for(receiver: Receiver, store: SessionStore) -> None:
    outcome: Outcome = await store.assert_gates(TENANT, [("ann", Gate(1, True, 1))])
    assert (outcome, await store.show(TENANT, "ann"), await store.fingerprint()) == (Done(), None, None)
    assert receiver.requests == []


def _verifies(request: Request) -> bool:
    try:
        Webhook(SECRET).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True
