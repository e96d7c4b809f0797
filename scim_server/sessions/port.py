"""The port of every session store, and what passes through it.

A store is told of a subject's new standing by a Delivery and answers with an Outcome. Adapters never raise for a
remote failure; the same Delivery may arrive more than once and late, and must then do no harm.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

Action = Literal["terminate", "lift", "notify"]
CANARIES: Final = ("scim-canary", "00000000-0000-7000-8000-000000000000", "-32001")
"""Subjects that nobody has, for keys that are text, uuid and integer; the same each time, so that one gate is left."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The marker a CRM checks (`"<epoch>:<denied 0|1>:<not_before_ms>"`): only ever moves to a higher epoch, or to
    denied 0 at the same epoch. Sessions begun before `not_before` (unix ms) or under a lower epoch are dead."""

    epoch: int
    denied: bool
    not_before: int

    def __str__(self) -> str:
        return f"{self.epoch}:{int(self.denied)}:{self.not_before}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one store about one subject.

    `action`: "terminate" = write the gate, then end the sessions; "lift" = write the gate only, a new login works;
    "notify" = nothing ends, the CRM is only told (webhooks). `id` is the idempotency key, the same over all retries.
    `tenant` is the tenant's name, `subject` the rendered template, `type` the event ("user.deactivated", …) and
    `data` its documented body. `gate` is None for "notify".
    """

    id: str
    tenant: str
    subject: str
    action: Action
    gate: Gate | None
    type: str
    timestamp: int
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """Confirmed by the store: this many session records ended. `guard_seen`: the CRM's guard left a fresh heartbeat."""

    sessions: int = 0
    guard_seen: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Not confirmed; try again (after this many milliseconds if the store asked for it). `why` is for the operator."""

    why: str
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The store will never accept this (a webhook's 410, rights that are missing): needs a person. `why` says what."""

    why: str


Outcome = Done | Retry | Refused


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `scim-server sessions check`: `ok` False makes the check fail; `hint` says what to do."""

    ok: bool
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One live session as `scim-server sessions show` prints it; `id` is the first 12 hex digits of its SHA-256,
    because a session id is a credential."""

    kind: str
    id: str
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A canary's session: how long its end took, and what went wrong (None: it is gone, as it should be)."""

    seconds: float
    fault: str | None = None


class SessionStore(Protocol):
    """One configured store. `inline`: deliver before the HTTP answer. `events`: True when it wants every change
    ("notify"), not only standings. `per_tenant`: each tenant has a server or database of its own."""

    name: str
    kind: str
    inline: bool
    events: bool

    @property
    def per_tenant(self) -> bool: ...

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Bring the store in line with the delivery. Idempotent; older gates never replace newer ones."""

    async def assert_gates(self, tenant: str, gates: Sequence[tuple[str, Gate]]) -> Outcome:
        """Write these (subject, gate) pairs again and end what sessions the denied ones have: after a restart."""

    async def beat(self, tenant: str, raised: str, value: int, other: str) -> int | None:
        """Raise the gate named `raised` to `value`, and only then read the value of the gate `other` (0: there is
        none). With the two in turn, whatever the store loses, and when, is missed at this beat or the next. None: it
        keeps no gate that can be read. Raises StoreUnreachable."""

    async def canary(self, tenant: str) -> Trial | None:
        """End a session of a subject that nobody has, for real; None where that cannot be tried, or costs too much."""

    async def check(self, tenant: str) -> list[Finding]:
        """Prove rights, index, key pattern and round-trip time with a canary subject; leave nothing behind."""

    async def show(self, tenant: str, subject: str) -> list[SessionInfo] | None:
        """What a kill would hit now; None where sessions cannot be named. Raises StoreUnreachable."""

    async def fingerprint(self) -> str | None:
        """Changes when the store lost or may have lost data (run id, replication id); None if it cannot tell.
        Raises StoreUnreachable."""

    async def aclose(self) -> None:
        """Give back connections."""


@runtime_checkable
class Joinable(Protocol):
    """What a store can do besides when its tables are in the server's own database."""

    async def deliver_within(self, connection: Any, delivery: Delivery) -> Outcome:
        """As `deliver`, on the driver's connection and inside the transaction that it is in. After anything but Done
        the caller has to roll back."""


class StoreUnreachable(Exception):
    """A question (show, fingerprint) could not be answered; the text says why, without secrets."""


def unfit(subject: str) -> str | None:
    """Why no store takes this subject (NUL, half a surrogate pair, over 1,024 bytes, nothing); None when it is fit."""
    try:
        size = len(subject.encode())
    except UnicodeEncodeError:
        return "the subject is not valid Unicode: correct the attribute it is made from"
    if "\0" in subject:
        return "the subject holds a NUL character: correct the attribute it is made from"
    if not 0 < size <= 1024:
        return f"the subject is {size} bytes long, and may be 1 to 1,024"
    return None


def session_info(kind: str, session: bytes, expires_in_s: int | None = None) -> SessionInfo:
    """A session whose id stays secret."""
    return SessionInfo(kind, hashlib.sha256(session).hexdigest()[:12], expires_in_s)
