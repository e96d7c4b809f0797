"""Laws over whole histories: any sequence of creations, changes and deletions of people who share a few names.

The model is the one of a CRM that knows only names: a name is denied exactly when somebody had it and no active
user has it now. Names are unique among the users that exist, as the server keeps them.
"""

import itertools
from dataclasses import dataclass, field

from events.people import BY_EXTERNAL_ID, BY_NAME, user
from hypothesis import given
from hypothesis import strategies as st

from scim_server.events.derive import Moves, derive, moves
from scim_server.events.model import Snapshot

NAMES = "abcd"
PEOPLE = "12345"
ENDINGS = {"user.deactivated", "user.deleted"}

State = tuple[str, bool] | None
steps = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.none() | st.tuples(st.sampled_from(NAMES), st.booleans())),
    max_size=40,
)


@dataclass
class Crm:
    """Gates and sessions as an obedient store keeps them."""

    epochs: dict[str, int] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    sessions: dict[str, str] = field(default_factory=dict)  # name -> whose
    clock: int = 0

    def obey(self, moved: Moves) -> None:
        for move in moved.moves:
            self.clock += 1
            if move.action == "terminate":
                self.denied.add(move.subject)
                self.epochs[move.subject] = self.clock
                self.sessions.pop(move.subject, None)
            elif not move.if_denied or move.subject in self.denied:
                self.denied.discard(move.subject)
                self.epochs[move.subject] = self.clock


def allowed(state: dict[str, State], person: str, wanted: State) -> bool:
    """Whether the server would take it: names are unique, and nobody who does not exist is deleted."""
    if wanted is None:
        return state.get(person) is not None
    return all(other is None or other[0] != wanted[0] for who, other in state.items() if who != person)


def snapshot(person: str, state: State) -> Snapshot | None:
    return state and user(state[0], state[1], id=person)


@given(steps)
def test_a_name_is_denied_iff_somebody_had_it_and_no_active_user_has_it_now(history: list[tuple[str, State]]) -> None:
    crm, state, had = Crm(), dict[str, State](), set[str]()
    for person, wanted in history:
        if not allowed(state, person, wanted):
            continue
        before, after = snapshot(person, state.get(person)), snapshot(person, wanted)
        sessions_of_others = {name: who for name, who in crm.sessions.items() if who != person}
        epochs = dict(crm.epochs)
        crm.obey(moves(BY_NAME, "t", before, after))
        state[person] = wanted
        had |= {wanted[0]} if wanted else set()
        active = {held[0] for held in state.values() if held and held[1]}
        assert crm.denied == had - active
        assert sessions_of_others.items() <= crm.sessions.items()
        assert all(crm.sessions.get(name) in (None, who) for who, (name, _) in _living(state))
        assert all(crm.epochs[name] >= epoch for name, epoch in epochs.items())
        crm.sessions |= {name: who for who, (name, is_active) in _living(state) if is_active}


def _living(state: dict[str, State]) -> list[tuple[str, tuple[str, bool]]]:
    return [(who, held) for who, held in state.items() if held]


states = st.none() | st.builds(
    user,
    st.sampled_from(NAMES),
    st.booleans(),
    externalId=st.none() | st.sampled_from("xy"),
    title=st.none() | st.sampled_from(["Clerk", "Boss"]),
)


@given(states)
def test_what_does_not_change_says_and_moves_nothing(same: Snapshot | None) -> None:
    assert derive("User", same, same) == []
    for template in (BY_NAME, BY_EXTERNAL_ID):
        assert moves(template, "t", same, same) == Moves() or same is None


@given(states, states)
def test_events_and_moves_agree(before: Snapshot | None, after: Snapshot | None) -> None:
    said = {event.type for event in derive("User", before, after)}
    was, is_ = before is not None and before.active, after is not None and after.active
    for template in (BY_NAME, BY_EXTERNAL_ID):
        result = moves(template, "t", before, after)
        if was and not is_:
            # Who loses access is terminated or reported, never forgotten; and it is an event.
            assert said & ENDINGS
            assert result.unresolved or any(move.action == "terminate" for move in result.moves)
        if result.unresolved:
            assert result.moves == ()
        subjects = [move.subject for move in result.moves]
        assert len(subjects) == len(set(subjects)), "a statement touches each standing once"
        assert not (was and is_ and result.unresolved)
        if any(move.action == "terminate" for move in result.moves):
            assert said


@given(states, states, states)
def test_a_detour_ends_where_the_straight_way_does(
    start: Snapshot | None, between: Snapshot | None, end: Snapshot | None
) -> None:
    """Denials after start -> between -> end include those after start -> end: nothing is lost by more steps."""
    for template in (BY_NAME, BY_EXTERNAL_ID):
        straight, detour = Crm(), Crm()
        for crm, way in ((straight, [None, start, end]), (detour, [None, start, between, end])):
            for before, after in itertools.pairwise(way):
                crm.obey(moves(template, "t", before, after))
        assert straight.denied <= detour.denied
