"""The command that opens an application session and tells whether it is alive; given with --session-probe.

`COMMAND open USERNAME EXTERNALID ID` begins a session of that person; `COMMAND alive …` exits 0 while it works.
"""

import shlex
import subprocess
import time

from conformance.client import Failure, Json

RUNS_WITHIN_S = 30.0
POLL_S = 0.1


class SessionProbe:
    """Runs the command, without a shell."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def open(self, user: Json) -> None:
        """Begins a session; raises Failure when the command fails or the session is not alive afterwards."""
        if self._run("open", user) != 0:
            raise Failure("the session probe can open a session")
        if not self.alive(user):
            raise Failure("the session probe finds the session that it opened")

    def alive(self, user: Json) -> bool:
        """Whether the person's session still works."""
        return self._run("alive", user) == 0

    def ends_within(self, user: Json, seconds: float) -> bool:
        """Whether it stops working by then."""
        deadline = time.monotonic() + seconds
        while self.alive(user):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _run(self, verb: str, user: Json) -> int:
        person = [user["userName"], user.get("externalId", ""), user["id"]]
        return subprocess.run([*self._command, verb, *person], timeout=RUNS_WITHIN_S, check=False).returncode
