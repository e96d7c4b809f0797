"""Tells a CRM by HTTP what happened, in signed messages (Standard Webhooks 1.0.0, signed in `signing`).

The CRM's answer settles it: 2xx is done, 410 ends the subscription, everything else is tried again. Where messages
may go is `outgoing`'s; redirects are not followed and what is answered is not believed.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Final
from urllib.parse import quote

import httpx
import orjson

from scim_server.clock import new_id, now_ms
from scim_server.sessions.config import WebhookSettings
from scim_server.sessions.outgoing import Forbidden, Target, pinned
from scim_server.sessions.port import Delivery, Done, Finding, Gate, Outcome, Refused, Retry, Trial
from scim_server.sessions.signing import signed_headers, signing_key

_READ_AT_MOST: Final = 64 * 1024
_LONGEST_WAIT_MS: Final = 86_400_000
_HEADERS: Final = {"content-type": "application/json", "user-agent": "scim-server"}


class WebhookStore:
    """A `webhook` store. It has no gate and no sessions of its own: the CRM acts on the message."""

    kind = "webhook"
    events = True

    def __init__(self, settings: WebhookSettings, now: Callable[[], int] = now_ms) -> None:
        self.name = settings.name
        self.inline = settings.inline
        self._settings = settings
        self._now = now
        self._keys = [signing_key(secret.get_secret_value()) for secret in settings.secret]
        self._client = httpx.AsyncClient(
            timeout=settings.timeout_ms / 1000,
            follow_redirects=False,
            trust_env=False,
            proxy=settings.proxy,
            headers=_HEADERS,
        )

    async def deliver(self, delivery: Delivery) -> Outcome:
        """`webhook-id` is the delivery's id, the same over all retries."""
        return await self._send(delivery, self._keys)

    async def assert_gates(self, tenant: str, gates: Sequence[tuple[str, Gate]]) -> Outcome:
        """Nothing to do: what a receiver has answered for is its own to keep."""
        return Done()

    @property
    def per_tenant(self) -> bool:
        """Nothing is kept there, so it makes no difference."""
        return False

    async def beat(self, tenant: str, raised: str, value: int, other: str) -> int | None:
        """None: a receiver keeps nothing for us."""
        return None

    async def canary(self, tenant: str) -> Trial | None:
        """None: a receiver would take it for somebody's."""
        return None

    async def check(self, tenant: str) -> list[Finding]:
        """A signed message of type `scim.check` must be taken, and one with a forged signature refused."""
        started = perf_counter()
        signed = await self._send(self._probe(tenant), self._keys)
        took = f"{(perf_counter() - started) * 1000:.0f} ms"
        if not isinstance(signed, Done):
            return [Finding(False, f"{self.name}: a signed message was not taken: {signed.why}")]
        forged = await self._send(self._probe(tenant), [b"forged".ljust(32)])
        hint = "verify webhook-signature, or anybody who reaches it can end sessions"
        return [
            Finding(True, f"{self.name}: a signed message was taken in {took}"),
            Finding(False, f"{self.name}: a forged message was taken too", hint)
            if isinstance(forged, Done)
            else Finding(True, f"{self.name}: a forged message was refused"),
        ]

    async def show(self, tenant: str, subject: str) -> None:
        """None: only the CRM knows."""

    async def fingerprint(self) -> str | None:
        """None: only the CRM knows."""
        return None

    async def aclose(self) -> None:
        """Give back connections."""
        await self._client.aclose()

    def _probe(self, tenant: str) -> Delivery:
        return Delivery(new_id(), tenant, "", "notify", None, "scim.check", self._now(), {"tenant": tenant})

    async def _send(self, delivery: Delivery, keys: Sequence[bytes]) -> Outcome:
        body = _body(delivery)
        headers = signed_headers(keys, delivery.id, self._now() // 1000, body)
        try:
            to = await self._target(delivery.tenant)
            headers |= to.headers
            async with self._client.stream(
                "POST", to.url, content=body, headers=headers, extensions=dict(to.extensions)
            ) as response:
                await _drain(response)
        except Forbidden as problem:
            return Retry(str(problem))
        except httpx.TimeoutException:
            return Retry(f"no answer within {self._settings.timeout_ms} ms")
        except (httpx.ConnectError, OSError):
            return Retry("cannot connect: check the address, its certificate and whether the receiver runs")
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return Retry(f"the exchange broke off ({type(problem).__name__})")
        return self._verdict(response)

    async def _target(self, tenant: str) -> Target:
        url = httpx.URL(self._settings.url.render({"tenant": quote(tenant, safe="")}) or "")
        networks = self._settings.private_networks
        return Target(url) if networks is None else await pinned(url, networks)

    def _verdict(self, response: httpx.Response) -> Outcome:
        status = response.status_code
        if response.is_success:
            return Done()
        if status == 410:
            return Refused(
                "the receiver answers 410 Gone: it wants no more messages; remove the store, or mend it and replay"
            )
        if response.is_redirect:
            return Retry(f"the receiver answers {status}: redirects are not followed, correct the store's url")
        after_ms = _wait_ms(response.headers.get("retry-after"), self._now())
        if status in (401, 403):
            return Retry(f"the receiver answers {status}: does it have the secret?", after_ms)
        return Retry(f"the receiver answers {status}", after_ms)


def _body(delivery: Delivery) -> bytes:
    moment = datetime.fromtimestamp(delivery.timestamp / 1000, UTC).isoformat(timespec="milliseconds")
    timestamp = moment.replace("+00:00", "Z")
    return orjson.dumps({"type": delivery.type, "timestamp": timestamp, "data": dict(delivery.data)})


async def _drain(response: httpx.Response) -> None:
    """Read what keeps the connection usable; a longer answer costs the connection."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _READ_AT_MOST:
            return


def _wait_ms(retry_after: str | None, now: int) -> int | None:
    """RFC 9110 §10.2.3: seconds or a date. At most a day; None when it cannot be read."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        wait = int(retry_after[:9]) * 1000
    else:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        wait = int(moment.timestamp() * 1000) - now
    return min(max(wait, 0), _LONGEST_WAIT_MS)
