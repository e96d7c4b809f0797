"""The session termination contract: whatever request ends access, its answer says in Session-Termination what became
of the person's sessions, and says done only when they are over. Optional: a server that never sends it is not judged.
"""

import re
from collections.abc import Callable
from functools import partial

from conformance.checks.bulk import bulk
from conformance.checks.patch import op
from conformance.client import Answer, Json
from conformance.requirement import Chapter, Level
from conformance.server import PATCH, USER, Server, at, require

TERMINATION = Level.TERMINATION
HEADER = "Session-Termination"
GRAMMAR = re.compile(r'done; sessions=\d+; dur=[\d.]+|(pending|unresolved); stores="[^"]+"|held|none')
ENDS_WITHIN_S = 10.0  # of a kill that is pending

requirements = Chapter()


def _by_patch(server: Server, user: Json) -> Answer:
    return server.patch(user, op("replace", "active", False))


def _by_pathless_patch(server: Server, user: Json) -> Answer:
    return server.patch(user, op("replace", None, {"active": False}))


def _by_put(server: Server, user: Json) -> Answer:
    body = {"schemas": [USER], "userName": user["userName"], "externalId": user["externalId"], "active": False}
    return server.send("PUT", at(user), body)


def _by_delete(server: Server, user: Json) -> Answer:
    return server.send("DELETE", at(user))


def _by_bulk(server: Server, user: Json) -> Answer:
    data = {"schemas": [PATCH], "Operations": [op("replace", "active", False)]}
    return bulk(server, {"method": "PATCH", "path": at(user), "data": data})


ROUTES: dict[str, tuple[str, Callable[[Server, Json], Answer], tuple[str, ...]]] = {
    "patch": ("PATCH of active", _by_patch, ("patch",)),
    "pathless-patch": ("PATCH without a path", _by_pathless_patch, ("patch",)),
    "put": ("PUT with active false", _by_put, ()),
    "delete": ("DELETE", _by_delete, ()),
    "bulk": ("a PATCH in a Bulk request", _by_bulk, ("bulk", "patch")),
}


def _person(server: Server) -> Json:
    return server.user(externalId=server.name())


def _speaks(server: Server) -> None:
    """Skips on servers that do not have this contract; with a probe, silence is a failure."""
    heard = [bool(send(server, _person(server)).header(HEADER)) for send in (_by_patch, _by_put, _by_delete)]
    require(any(heard) or server.probe is not None, f"the server sends no {HEADER}")


def _says(route: Callable[[Server, Json], Answer], server: Server) -> None:
    _speaks(server)
    answer = route(server, _person(server)).has_status(200, 204)
    answer.expect(
        bool(GRAMMAR.fullmatch(answer.header(HEADER))), f"{HEADER} is done, pending, unresolved, held or none"
    )


def _ends(route: Callable[[Server, Json], Answer], server: Server) -> None:
    probe = server.probe
    assert probe is not None  # what needs "probe" is skipped without it
    leaver, colleague = _person(server), _person(server)
    probe.open(leaver)
    probe.open(colleague)
    answer = route(server, leaver).has_status(200, 204)
    alive = probe.alive(leaver)
    said = answer.header(HEADER)
    answer.expect(said.startswith(("done", "pending")), f"{HEADER} is done or pending")
    answer.expect(not (alive and said.startswith("done")), "the session is over when the answer says done")
    answer.expect(probe.ends_within(leaver, ENDS_WITHIN_S), f"the session is over within {ENDS_WITHIN_S:.0f} s")
    answer.expect(probe.alive(colleague), "a colleague's session goes on")


for _name, (_words, _route, _needs) in ROUTES.items():
    _sentence = f"{_words} that deactivates is answered with Session-Termination."
    requirements.add(f"termination-says-{_name}", TERMINATION, _sentence, partial(_says, _route), needs=_needs)
    _sentence = f"{_words} that deactivates ends the person's session, and nobody else's."
    _needed = ("probe", *_needs)
    requirements.add(f"termination-ends-{_name}", TERMINATION, _sentence, partial(_ends, _route), needs=_needed)


@requirements("termination", TERMINATION)
def not_without_a_deactivation(server: Server) -> None:
    """A change that ends nobody's access has no Session-Termination, nor has a repeated deactivation."""
    _speaks(server)
    user = _person(server)
    changed = server.send("PUT", at(user), {"schemas": [USER], "userName": user["userName"], "title": "Boss"})
    changed.expect(not changed.header(HEADER), f"there is no {HEADER} without a deactivation")
    _by_put(server, user).has_status(200)
    again = _by_put(server, user).has_status(200)
    again.expect(not again.header(HEADER), f"there is no {HEADER} when nothing changes")
