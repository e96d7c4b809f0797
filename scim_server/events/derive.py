"""The one place that decides that somebody was deactivated: pure functions of (before, after).

`derive` says what happened; `moves` says what that means for the sessions filed under a store's subject key.
Neither knows which request, command or import caused the change, so no route can be forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scim_server.events.model import (
    Event,
    GroupChanged,
    GroupCreated,
    GroupDeleted,
    Snapshot,
    UserChanged,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserReactivated,
    Values,
)
from scim_server.events.subject import Template


def derive(kind: str, before: Snapshot | None, after: Snapshot | None, let_out: Sequence[str] = ()) -> list[Event]:
    """What happened to a resource of type `kind` ("User", "Group" or a configured one) between two snapshots.

    None stands for "does not exist". Nothing is derived from equal snapshots. `let_out` names the attributes, those
    of extensions with their URN, whose values the tenant lets out.
    """
    if kind == "User":
        return _user(before, after, let_out)
    if kind == "Group":
        return _group(before, after, let_out)
    return []


def _user(before: Snapshot | None, after: Snapshot | None, let_out: Sequence[str]) -> list[Event]:
    if after is None:
        return [UserDeleted(before)] if before else []
    if before is None:
        created: list[Event] = [UserCreated(after, _values(None, after, let_out))]
        return created if after.active else [*created, UserDeactivated(after, reason="created-inactive")]
    events: list[Event] = []
    changed = tuple(name for name in _changed(before, after) if name != "active")
    if changed:
        events.append(UserChanged(after, changed, _values(before, after, let_out)))
    if before.active and not after.active:
        events.append(UserDeactivated(after))
    elif after.active and not before.active:
        events.append(UserReactivated(after))
    return events


def _group(before: Snapshot | None, after: Snapshot | None, let_out: Sequence[str]) -> list[Event]:
    if after is None:
        return [GroupDeleted(before)] if before else []
    if before is None:
        return [GroupCreated(after, _values(None, after, let_out))]
    changed = _changed(before, after)
    return [GroupChanged(after, changed, _values(before, after, let_out))] if changed else []


def _changed(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    names = before.document.keys() | after.document.keys()
    return tuple(sorted(n for n in names if before.document.get(n) != after.document.get(n)))


def _values(before: Snapshot | None, after: Snapshot, let_out: Sequence[str]) -> Values:
    pairs = ((name, _value(before, name), _value(after, name)) for name in let_out)
    return {name: {"old": old, "new": new} for name, old, new in pairs if old != new}


def _value(snapshot: Snapshot | None, name: str) -> Any:
    if snapshot is None:
        return None
    urn, _, attribute = name.rpartition(":")
    holder = snapshot.document.get(urn) if urn else snapshot.document
    return holder.get(attribute) if isinstance(holder, Mapping) else None


@dataclass(frozen=True, slots=True)
class Move:
    """A change of standing of one subject in one store.

    "terminate": nobody active owns it any more: deny and end its sessions. "lift": somebody active owns it again;
    with `if_denied` only if the subject had been denied before (a new user rarely has a past).
    "revoke": end what there is, the owner stays welcome. `type` is the event it goes out as.
    """

    subject: str
    action: Literal["terminate", "lift", "revoke"]
    type: str
    if_denied: bool = False


@dataclass(frozen=True, slots=True)
class Moves:
    """`unresolved`: somebody lost access, but the template had nothing to fill in, so nothing can be looked for."""

    moves: tuple[Move, ...] = ()
    unresolved: bool = False


def moves(
    template: Template, tenant: str, before: Snapshot | None, after: Snapshot | None, *, certain: bool = False
) -> Moves:
    """How one store's subjects change hands between two snapshots of a user. `certain`: a reactivation is said even
    of a subject that was never denied, because the store wants to hear of it.

    An active user owns the subject the template makes of them; an inactive one denies it; a subject that is left
    behind by a rename, a new externalId or a deletion has no active owner and is denied too. So a recycled name can
    never hit the wrong person, and a rename together with a deactivation ends the sessions under both names.
    """
    old, new = _subject(template, tenant, before), _subject(template, tenant, after)
    was_active = before is not None and before.active
    is_active = after is not None and after.active
    losing: list[str] = []
    if old is not None and was_active and not (is_active and new == old):
        losing.append(old)
    if new is not None and not is_active and (was_active or new != old) and new not in losing:
        losing.append(new)
    kind = _lost_by(before, after)
    out = [Move(subject, "terminate", kind) for subject in losing]
    if new is not None and is_active and not (was_active and new == old):
        again = before is not None and not was_active and new == old
        out.append(Move(new, "lift", UserReactivated.type, if_denied=not (again and certain)))
    lost_access = (was_active and not is_active) or (before is None and after is not None and not after.active)
    return Moves(tuple(out), unresolved=lost_access and not losing)


def revocation(template: Template, tenant: str, person: Snapshot, kind: str) -> Moves:
    """End the sessions of somebody whose standing does not change: a lost laptop, a second kill of a leaver."""
    subject = _subject(template, tenant, person)
    if subject is None:
        return Moves(unresolved=True)
    return Moves((Move(subject, "revoke" if person.active else "terminate", kind),))


def _lost_by(before: Snapshot | None, after: Snapshot | None) -> str:
    if after is None:
        return UserDeleted.type
    return UserChanged.type if after.active else UserDeactivated.type


def _subject(template: Template, tenant: str, person: Snapshot | None) -> str | None:
    if person is None:
        return None
    values: Mapping[str, Any] = {**person.document, "id": person.id, "tenant": tenant}
    return template.render(values)
