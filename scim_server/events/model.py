"""The facts that leave this server, as frozen dataclasses. Their docstrings are the public documentation.

`type` is the name in a webhook's body and in the event feed. Personal data in an event is limited to the three
identifiers a CRM needs to find the person, the names of what changed, and the values that the tenant lets out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

Credential = Literal["session", "refresh_token", "api_key"]
KINDS: tuple[Credential, ...] = get_args(Credential)
"""What a CRM lets people in by: somebody who leaves loses all of it."""
Values = Mapping[str, Mapping[Literal["old", "new"], Any]]
"""Of attributes whose values may leave and differ: before and after, None where there was or is none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A resource at one moment: `document` is the stored document, `active` the state column (True for groups)."""

    id: str
    document: Mapping[str, Any]
    active: bool = True

    def text(self, name: str) -> str | None:
        """A top-level attribute of type string, None when absent."""
        value = self.document.get(name)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `resource`, a snapshot of the moment after (before, for deletions)."""

    type: ClassVar[str]
    resource: Snapshot

    def data(self) -> dict[str, Any]:
        """The documented body, without what a message adds (tenant, kinds, epoch, not_before)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class UserCreated(Event):
    """`user.created`: a user exists from now on. Data: id, externalId, userName, active, values."""

    type = "user.created"
    values: Values = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return {**_identity(self.resource), "active": self.resource.active, **_let_out(self.values)}


@dataclass(frozen=True, slots=True)
class UserChanged(Event):
    """`user.updated`: attributes changed. Data: id, externalId, userName, changed (attribute names), values."""

    type = "user.updated"
    changed: tuple[str, ...] = ()
    values: Values = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return {**_identity(self.resource), "changed": list(self.changed), **_let_out(self.values)}


@dataclass(frozen=True, slots=True)
class UserDeactivated(Event):
    """`user.deactivated`: the user is no longer active; no session may exist any more. Data: id, externalId,
    userName, reason (deactivated | created-inactive), kinds, epoch, not_before."""

    type = "user.deactivated"
    reason: str = "deactivated"

    def data(self) -> dict[str, Any]:
        return {**_identity(self.resource), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class UserReactivated(Event):
    """`user.reactivated`: the user may sign in again; sessions from before stay dead. Data: id, externalId,
    userName, epoch, not_before."""

    type = "user.reactivated"

    def data(self) -> dict[str, Any]:
        return _identity(self.resource)


@dataclass(frozen=True, slots=True)
class UserDeleted(Event):
    """`user.deleted`: the user is gone, and so is every session. Data: id, externalId, userName, reason
    (deleted), kinds, epoch, not_before."""

    type = "user.deleted"

    def data(self) -> dict[str, Any]:
        return {**_identity(self.resource), "reason": "deleted"}


@dataclass(frozen=True, slots=True)
class SessionsRevoked(Event):
    """`sessions.revoked`: every session so far is ended, the account stays. Data: id, externalId, userName,
    reason (revoked), kinds (of session, refresh_token, api_key those that are ended), epoch, not_before."""

    type = "sessions.revoked"
    kinds: tuple[str, ...] = KINDS

    def data(self) -> dict[str, Any]:
        return {**_identity(self.resource), "reason": "revoked", "kinds": list(self.kinds)}


@dataclass(frozen=True, slots=True)
class GroupCreated(Event):
    """`group.created`. Data: id, externalId, displayName, values."""

    type = "group.created"
    values: Values = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return {**_group(self.resource), **_let_out(self.values)}


@dataclass(frozen=True, slots=True)
class GroupChanged(Event):
    """`group.updated`: attributes other than members changed. Data: id, externalId, displayName, changed, values."""

    type = "group.updated"
    changed: tuple[str, ...] = ()
    values: Values = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return {**_group(self.resource), "changed": list(self.changed), **_let_out(self.values)}


@dataclass(frozen=True, slots=True)
class GroupDeleted(Event):
    """`group.deleted`. Data: id, externalId, displayName."""

    type = "group.deleted"

    def data(self) -> dict[str, Any]:
        return _group(self.resource)


@dataclass(frozen=True, slots=True)
class MembershipChanged(Event):
    """`group.members_changed`. Data: id, externalId, displayName, added and removed (ids of members, at most 1,000
    each; `truncated` true when there were more, or when all members were replaced)."""

    type = "group.members_changed"
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: bool = False

    LIMIT: ClassVar[int] = 1000

    def data(self) -> dict[str, Any]:
        cut = self.replaced or max(len(self.added), len(self.removed)) > self.LIMIT
        return {
            **_group(self.resource),
            "added": list(self.added[: self.LIMIT]),
            "removed": list(self.removed[: self.LIMIT]),
            "truncated": cut,
        }


EVENTS: tuple[type[Event], ...] = (
    UserCreated,
    UserChanged,
    UserDeactivated,
    UserReactivated,
    UserDeleted,
    SessionsRevoked,
    GroupCreated,
    GroupChanged,
    GroupDeleted,
    MembershipChanged,
)


def _identity(resource: Snapshot) -> dict[str, Any]:
    return _present(resource, ("externalId", "userName"))


def _group(resource: Snapshot) -> dict[str, Any]:
    return _present(resource, ("externalId", "displayName"))


def _let_out(values: Values) -> dict[str, Any]:
    return {"values": values} if values else {}


def _present(resource: Snapshot, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: resource.text(name) for name in names}
    return {"id": resource.id, **{name: value for name, value in found.items() if value is not None}}
