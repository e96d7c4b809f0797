"""What the demo plays: for a person at a browser, or (`once`) three leavers from login to cut, measured.

Owns all that is printed. A session's fate is asked of the CRM over HTTP, never looked up in its store.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TextIO

import httpx

from scim_server.clock import new_id
from scim_server.demo.processes import DemoError
from scim_server.demo.roster import Person, departments, people
from scim_server.demo.simulator import DEACTIVATION, EntraSimulator
from scim_server.demo.stage import PASSWORD, Stage, set_up

GIVE_UP_AFTER_S = 5.0
"""How long a session is asked for after its owner's deactivation before it counts as surviving."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One leaver's end. Times in ms since the request was sent; `cut_ms` None: the session survived."""

    person: Person
    route: str
    before: int
    answer: int
    receipt: str
    request_ms: float
    first_after: int
    cut_ms: float | None
    relogin: int

    @property
    def ended(self) -> bool:
        """Worked before, is over after, and a receipt that says "done" was true at the very next request."""
        kept_word = self.first_after == 401 or not self.receipt.startswith("done")
        return self.before == 200 and self.cut_ms is not None and kept_word and self.relogin == 403


def run(*, once: bool, redis_url: str | None = None, port: int = 0, crm_port: int = 0, out: TextIO = sys.stdout) -> int:
    """Play the demo on free ports unless told otherwise; returns the exit status.

    `once`: 0 when all three leavers were cut off, 1 when a session survived. Otherwise stays up until Ctrl-C or
    SIGTERM. Whatever happens, no process and no file stays behind.
    """
    say = _printer(out)
    staff = people(new_id)
    try:
        with _sigterm_is_ctrl_c():
            say("Starting the SCIM server and the example CRM …")
            with set_up(staff, redis_url, port, crm_port) as stage:
                return _play(stage, staff, once, say)
    except (DemoError, httpx.TransportError) as problem:
        say(f"The demo stopped: {problem}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped; everything is removed.")
        return 1 if once else 0


def _play(stage: Stage, staff: list[Person], once: bool, say: Callable[[str], None]) -> int:
    with EntraSimulator(stage.scim_url, stage.token) as provider:
        started = time.perf_counter()
        ids = {person.subject: provider.provision(person) for person in staff}
        groups = departments(staff)
        for name, members in groups.items():
            provider.provision_group(name, new_id(), [ids[member.subject] for member in members])
        seconds = time.perf_counter() - started
        say(f"{len(staff)} users and {len(groups)} groups provisioned the way Entra ID does it, in {seconds:.1f} s.\n")
        if once:
            return _play_leavers(stage, provider, staff, ids, say)
    say(_invitation(stage, staff[0], ids[staff[0].subject]))
    while True:
        stage.check_alive()
        time.sleep(0.5)


def _play_leavers(
    stage: Stage, provider: EntraSimulator, staff: list[Person], ids: dict[str, str], say: Callable[[str], None]
) -> int:
    routes = (
        ("PATCH", provider.deactivate_by_patch),
        ("PUT", provider.deactivate_by_put),
        ("DELETE", provider.delete),
    )
    with _browser(stage) as colleague:
        _log_in(colleague, staff[-1])
        cuts = [
            _cut_off(stage, person, route, partial(act, person, ids[person.subject]))
            for person, (route, act) in zip(staff, routes, strict=False)
        ]
        stayed = _status(colleague) == 200
    say(f"Three people are logged into the CRM (sessions in {stage.store}) and are then deactivated:\n")
    say(_table(cuts))
    ended = sum(cut.ended for cut in cuts)
    if ended == len(cuts) and stayed:
        slowest = max(cut.cut_ms or 0.0 for cut in cuts)
        say(f"\nAll {ended} sessions ended, the slowest {slowest:.1f} ms after the identity provider spoke.")
        say("New logins of the three are refused; a colleague's session went on.")
        return 0
    failed = ", ".join(cut.person.display_name for cut in cuts if not cut.ended) or "nobody"
    say(f"\nFAILED. Not cut off as promised: {failed}. A colleague's session {'went on' if stayed else 'ended too'}.")
    return 1


def _cut_off(stage: Stage, person: Person, route: str, act: Callable[[], httpx.Response]) -> Cut:
    with _browser(stage) as browser:
        _log_in(browser, person)
        before = _status(browser)
        sent = time.perf_counter()
        answer = act()
        request_ms = (time.perf_counter() - sent) * 1000
        status = first_after = _status(browser)
        while status == 200 and time.perf_counter() - sent < GIVE_UP_AFTER_S:
            status = _status(browser)
        cut_ms = (time.perf_counter() - sent) * 1000 if status == 401 else None
        return Cut(
            person=person,
            route=route,
            before=before,
            answer=answer.status_code,
            receipt=answer.headers.get("Session-Termination", "(no receipt)"),
            request_ms=request_ms,
            first_after=first_after,
            cut_ms=cut_ms,
            relogin=_log_in(browser, person),
        )


def _browser(stage: Stage) -> httpx.Client:
    return httpx.Client(base_url=stage.crm_url, timeout=10)


def _log_in(browser: httpx.Client, person: Person) -> int:
    return browser.post("/login", data={"userName": person.user_name, "password": PASSWORD}).status_code


def _status(browser: httpx.Client) -> int:
    return browser.get("/api/me").status_code


def _table(cuts: list[Cut]) -> str:
    head = ("who", "request", "took", "Session-Termination", "session", "over after")
    rows = [
        (
            cut.person.display_name,
            f"{cut.route} {cut.answer}",
            f"{cut.request_ms:.1f} ms",
            cut.receipt,
            f"{cut.before} -> {cut.first_after}",
            "never" if cut.cut_ms is None else f"{cut.cut_ms:.1f} ms",
        )
        for cut in cuts
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _invitation(stage: Stage, person: Person, user_id: str) -> str:
    return f"""\
  CRM        {stage.crm_url}   (sessions in {stage.store})
  log in as  {person.user_name}   password {PASSWORD}
  SCIM       {stage.scim_url}
  token      {stage.token}

1. Open the CRM in a browser and log in as {person.display_name}.
2. In another terminal, deactivate {person.given} as an identity provider would:

curl -i -X PATCH {stage.scim_url}/Users/{user_id} \\
  -H 'Authorization: Bearer {stage.token}' \\
  -H 'Content-Type: application/scim+json' \\
  -d '{json.dumps(DEACTIVATION)}'

3. The header Session-Termination says what was ended. Reload the CRM: {person.given} is out, and cannot log in.
   With "True" in place of "False" the account comes back; the old session does not.

Ctrl-C ends the demo and removes all of it."""


def _printer(out: TextIO) -> Callable[[str], None]:
    def say(text: str) -> None:
        out.write(f"{text}\n")
        out.flush()

    return say


@contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
