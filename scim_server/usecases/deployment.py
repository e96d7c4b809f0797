"""What the use cases work with: the open database, the configured stores as they concern provisioning, the resource
types, and the edges (clock, ids, delivery) as arguments. `app.py` fills it in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from scim_server.events.model import Credential
from scim_server.events.subject import Template
from scim_server.protocol.attributes import ResourceType
from scim_server.sessions.port import Outcome
from scim_server.storage.change import Queued
from scim_server.storage.database import Database
from scim_server.storage.secret import SharedSecret
from scim_server.usecases import tenant_types
from scim_server.usecases.options import TenantOptions
from scim_server.usecases.passwords import Passwords

SETTLING_MS = 150  # to write down what came of the attempt


class Joined(Protocol):
    """A session store whose tables are in our own database, brought in line inside the transaction of a commit."""

    async def __call__(self, tenant: str, connection: Any, message: Queued) -> int | None:
        """How many sessions it ended; None when it could not. Never raises but for a broken connection."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A session store as provisioning sees it. `tenant` None: of every tenant. `inline`: delivered before the answer,
    within `budget_ms`. `events`: wants every change, not only what ends or restores access. `ends` None: every kind of
    credential. `joined`: it can take part in our commits."""

    name: str
    template: Template
    inline: bool = True
    events: bool = False
    tenant: str | None = None
    budget_ms: int = 150
    ends: Credential | None = None
    joined: Joined | None = None

    @property
    def grace_ms(self) -> int:
        """How long the worker leaves to the request what the request tries itself."""
        return self.budget_ms + SETTLING_MS if self.inline else 0

    def ending(self, kinds: Sequence[Credential]) -> tuple[Credential, ...]:
        """Of these kinds of credentials, those that the store ends."""
        return tuple(kind for kind in kinds if self.ends in (None, kind))


@dataclass(frozen=True, slots=True)
class Delivered:
    """What each message (by id) came to; those left out are on their way by the worker."""

    outcomes: Mapping[str, Outcome]
    milliseconds: float


class Terminator(Protocol):
    """Delivers committed messages at once. Never raises, never takes longer than its budget."""

    async def deliver_now(self, tenant: str, messages: Sequence[Queued]) -> Delivered:
        """Try each message once, those for stores that are not inline excepted."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One running server, or one command line."""

    database: Database
    terminator: Terminator
    subscribers: tuple[Subscriber, ...]
    resource_types: tuple[ResourceType, ...]
    now: Callable[[], int]
    new_id: Callable[[], str]
    cursor_key: SharedSecret = field(default_factory=lambda: SharedSecret("cursor"))
    passwords: Passwords = field(default_factory=Passwords)

    def types_of(self, options: TenantOptions) -> tuple[ResourceType, ...]:
        """The resource types that a tenant with these options has. Raises Unavailable."""
        return tenant_types.types_of(self.resource_types, options)

    def type_of(self, options: TenantOptions, name: str) -> ResourceType:
        """A tenant's User or Group type. Raises Unavailable."""
        rt = tenant_types.type_of(self.resource_types, options, name)
        assert rt is not None, name
        return rt

    def subscribers_of(self, tenant: str) -> tuple[Subscriber, ...]:
        """The stores that concern a tenant."""
        return tuple(s for s in self.subscribers if s.tenant is None or s.tenant == tenant)
