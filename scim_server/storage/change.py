"""One write as plain data: the resource row with its guard, members in and out, what moves in the session stores,
the outbox rows and the audit row. Use cases fill it in, `Database.commit` makes all of it true or none.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Write = Literal["insert", "update", "bump", "delete", "none"]
Action = Literal["terminate", "lift", "notify"]
FEED = "-feed"  # the name under which the event feed has its rows; no configured store can be called so


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """The columns of `resource` that are made from the document; `doc` and `search` are JSON text (keys.py)."""

    doc: str
    search: str
    active: bool = True
    unique_key: str | None = None
    external_id: str | None = None
    display_name_key: str | None = None
    family_name_key: str | None = None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A membership: `type` is User or Group, `display` as the client sent it."""

    member_id: str
    type: str
    display: str | None = None


@dataclass(frozen=True, slots=True)
class ValueRow:
    """An indexed value of a multi-valued or extension attribute; `exclusive` for uniqueness: server."""

    attr: str
    value_key: str
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What one store is told about one subject; `id` is its idempotency key over all retries.

    "terminate" and "lift" move the subject's standing (a new epoch, `denied`), with `if_denied` only when it had been
    denied before; "notify" moves nothing. A `held` message moves nothing either: it waits for a person, and any later
    word about the same subject, whoever owns it then, takes its place. A worker
    may deliver it `delay_ms` after the commit: later for stores that the request itself tries first. `resource_id` is
    whom it is about, when that is not the resource of the change.
    """

    id: str
    store: str
    subject: str
    action: Action
    type: str
    data: Mapping[str, Any]
    denied: bool = False
    if_denied: bool = False
    held: bool = False
    delay_ms: int = 0
    resource_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A user whose standing depends on the groups being changed. The guard on `version` makes two parallel edits of
    two groups see each other: the second one reads again."""

    resource_id: str
    version: int
    entitled: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """Somebody loses access by this change; `remains` is what would bring it back: the `document` of a deleted user,
    the `groups` that had the user as a member."""

    resource_id: str
    how: Literal["deactivated", "deleted", "left-access-groups"]
    remains: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Who did what by which request; `detail` names what changed and holds no personal values."""

    actor: str
    action: str
    request_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def noting(self, **more: Any) -> "Audit":
        """The same with more detail."""
        return replace(self, detail={**self.detail, **more})


@dataclass(frozen=True, slots=True)
class Companion:
    """A session store whose tables are in this very database. `run(connection, message)` brings it in line on the
    driver's connection, inside the transaction of the commit, and says how many sessions it ended; None: it could not,
    and what it did is rolled back. Nothing of it may take longer than `budget_ms`: the commit holds locks meanwhile."""

    run: Callable[[Any, "Queued"], Coroutine[Any, Any, int | None]]
    budget_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """`id` identifies the write (and its audit row); `at` is its time in unix ms.

    `write`: insert and delete are what they say; "update" replaces the row while its version is still
    `expected_version`; "bump" moves version and lastModified only, under the guard when expected_version is given, else
    whatever the version (member edits commute) while the display name is that of `row`, if there is one; "none" leaves
    the row alone.
    `replace_members`: all members but `members_in` go. `entitled` is stored by an insert. `remains` of a user who had
    no access any more when deleted is kept with their earlier losses.
    `credential`: the new password hash, "" to forget it, None to leave it. `companions`, by store, are told in the same
    transaction.
    """

    id: str
    at: int
    tenant_id: str
    type: str
    resource_id: str
    write: Write
    audit: Audit
    row: ResourceRow | None = None
    expected_version: int | None = None
    members_in: tuple[MemberRow, ...] = ()
    members_out: tuple[str, ...] = ()
    replace_members: bool = False
    values_in: tuple[ValueRow, ...] = ()
    values_out: tuple[ValueRow, ...] = ()
    messages: tuple[Message, ...] = ()
    entitled: bool = True
    entitlements: tuple[Entitlement, ...] = ()
    losses: tuple[Loss, ...] = ()
    remains: Mapping[str, Any] | None = None
    credential: str | None = None
    companions: Mapping[str, Companion] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queued:
    """An outbox row as committed. `blocked`: an older message for the same subject and store is still on its way,
    so this one must not overtake it. `held` rows wait for a person. `ended`: settled by the commit itself, which ended
    so many sessions."""

    id: str
    store: str
    subject: str
    action: Action
    type: str
    epoch: int | None
    denied: bool | None
    not_before: int | None
    data: Mapping[str, Any]
    blocked: bool = False
    held: bool = False
    ended: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """`version` and `modified` of the resource after the write (0 and the change's time for "none"); what is to be
    delivered, so no rows of the event feed."""

    version: int
    modified: int
    queued: tuple[Queued, ...] = ()
