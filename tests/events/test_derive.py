"""Every pair of before and after: what happened, and what it means for the sessions under a store's subject."""

import pytest
from events.people import BY_EXTERNAL_ID, BY_NAME, user

from scim_server.events.derive import Move, Moves, derive, moves, revocation
from scim_server.events.model import (
    GroupChanged,
    GroupCreated,
    GroupDeleted,
    Snapshot,
    UserChanged,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserReactivated,
)
from scim_server.events.subject import Template


def deny(subject: str, event: str = "user.deactivated") -> Move:
    return Move(subject, "terminate", event)


def let_in(subject: str) -> Move:
    return Move(subject, "lift", "user.reactivated", if_denied=True)


NOBODY = None
BOTH = ["user.updated", "user.deactivated"]
PAIRS = {
    "created active": (NOBODY, user(), ["user.created"], [let_in("jo")]),
    "created inactive": (NOBODY, user(active=False), ["user.created", "user.deactivated"], [deny("jo")]),
    "deactivated": (user(), user(active=False), ["user.deactivated"], [deny("jo")]),
    "reactivated": (user(active=False), user(), ["user.reactivated"], [let_in("jo")]),
    "renamed while active": (user(), user("al"), ["user.updated"], [deny("jo", "user.updated"), let_in("al")]),
    "renamed while inactive": (user(active=False), user("al", False), ["user.updated"], [deny("al")]),
    "renamed and deactivated": (
        user(),
        user("al", False),
        ["user.updated", "user.deactivated"],
        [deny("jo"), deny("al")],
    ),
    "renamed and reactivated": (user(active=False), user("al"), ["user.updated", "user.reactivated"], [let_in("al")]),
    "deleted while active": (user(), NOBODY, ["user.deleted"], [deny("jo", "user.deleted")]),
    "deleted while inactive": (user(active=False), NOBODY, ["user.deleted"], []),
    "changed in other ways": (user(), user(title="Boss"), ["user.updated"], []),
    "changed while inactive": (user(active=False), user(active=False, title="Boss"), ["user.updated"], []),
    "not changed": (user(), user(), [], []),
    "not changed, inactive": (user(active=False), user(active=False), [], []),
    "never there": (NOBODY, NOBODY, [], []),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_every_pair(pair: tuple[Snapshot | None, Snapshot | None, list[str], list[Move]]) -> None:
    before, after, happened, moved = pair
    assert [event.type for event in derive("User", before, after)] == happened
    assert moves(BY_NAME, "acme", before, after) == Moves(tuple(moved))


def test_events_name_who_and_why() -> None:
    created, inactive = derive("User", None, user(active=False, externalId="e"))
    assert created == UserCreated(user(active=False, externalId="e"))
    assert created.data() == {"id": "1", "userName": "jo", "externalId": "e", "active": False}
    assert inactive.data() == {"id": "1", "userName": "jo", "externalId": "e", "reason": "created-inactive"}
    (left,) = derive("User", user(), user(active=False))
    assert left == UserDeactivated(user(active=False))
    assert left.data()["reason"] == "deactivated"
    (gone,) = derive("User", user(), None)
    assert gone == UserDeleted(user())
    assert gone.data()["reason"] == "deleted"
    (back,) = derive("User", user(active=False), user())
    assert back == UserReactivated(user())


def test_changes_are_named_by_attribute_and_never_by_value() -> None:
    before = user(title="Clerk", nickName="J", active=True)
    after = user(title="Boss", displayName="Jo", active=True)
    (changed,) = derive("User", before, after)
    assert changed == UserChanged(after, ("displayName", "nickName", "title"))
    assert "Boss" not in str(changed.data())


def test_the_written_attribute_active_is_no_change_by_itself() -> None:
    before = Snapshot("1", {"userName": "jo", "active": True}, True)
    after = Snapshot("1", {"userName": "jo"}, True)
    assert derive("User", before, after) == []


def test_groups_have_events_and_other_types_have_none() -> None:
    group, renamed = Snapshot("g", {"displayName": "A"}), Snapshot("g", {"displayName": "B"})
    assert derive("Group", None, group) == [GroupCreated(group)]
    assert derive("Group", group, renamed) == [GroupChanged(renamed, ("displayName",))]
    assert derive("Group", group, group) == []
    assert derive("Group", group, None) == [GroupDeleted(group)]
    assert derive("Group", None, None) == []
    assert derive("Device", None, group) == []


# --- subjects that cannot be filled in ----------------------------------------------------------------------


def test_who_loses_access_without_a_subject_is_unresolved() -> None:
    def unresolved(before: Snapshot | None, after: Snapshot | None) -> bool:
        result = moves(BY_EXTERNAL_ID, "acme", before, after)
        assert result.moves == ()
        return result.unresolved

    assert unresolved(user(), user(active=False))
    assert unresolved(user(), None)
    assert unresolved(None, user(active=False))
    assert not unresolved(None, user())
    assert not unresolved(user(active=False), user())
    assert not unresolved(user(active=False), None)


def test_a_key_that_is_removed_changed_or_added_moves_the_sessions_under_it() -> None:
    keyed, other, bare = user(externalId="x"), user(externalId="y"), user()
    assert moves(BY_EXTERNAL_ID, "t", keyed, bare) == Moves((deny("x", "user.updated"),))
    assert moves(BY_EXTERNAL_ID, "t", keyed, other) == Moves((deny("x", "user.updated"), let_in("y")))
    assert moves(BY_EXTERNAL_ID, "t", bare, keyed) == Moves((let_in("x"),))
    removed_and_left = moves(BY_EXTERNAL_ID, "t", keyed, user(active=False))
    assert removed_and_left == Moves((deny("x"),))
    added_and_left = moves(BY_EXTERNAL_ID, "t", bare, user(active=False, externalId="x"))
    assert added_and_left == Moves((deny("x"),))


def test_stores_with_other_templates_move_otherwise() -> None:
    before, after = user("jo", externalId="e"), user("al", externalId="e")
    assert moves(BY_EXTERNAL_ID, "t", before, after) == Moves()
    by_tenant = moves(Template.parse("{tenant}/{userName}"), "t", before, after)
    assert [move.subject for move in by_tenant.moves] == ["t/jo", "t/al"]


def test_case_matters_because_the_crm_may_mean_two_people() -> None:
    assert [m.subject for m in moves(BY_NAME, "t", user("Jo"), user("jo")).moves] == ["Jo", "jo"]


# --- revocation ---------------------------------------------------------------------------------------------


def test_a_revocation_changes_nobodys_standing() -> None:
    lost_laptop = revocation(BY_NAME, "t", user(), "sessions.revoked")
    assert lost_laptop == Moves((Move("jo", "revoke", "sessions.revoked"),))
    leaver_again = revocation(BY_NAME, "t", user(active=False), "sessions.revoked")
    assert leaver_again == Moves((Move("jo", "terminate", "sessions.revoked"),))
    assert revocation(BY_EXTERNAL_ID, "t", user(), "sessions.revoked") == Moves(unresolved=True)
