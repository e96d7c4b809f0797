"""When to try again: pure arithmetic on attempts.

A kill is tried for ever, quickly at first. What another party's HTTP endpoint refuses to take is given up after about
three days and kept for a replay.
"""

from bisect import bisect_right
from itertools import accumulate

from scim_server.sessions.port import Done, Outcome, Refused
from scim_server.storage.outbox import Settlement

STORE_FIRST_MS = 50
STORE_CAP_MS = 15_000
ECHO_GAPS_S = (2, 13, 45)  # 2, 15 and 60 s after the kill: a login, a slow request, a job that holds a session
# Dense in the first minute, because somebody is waiting to be locked out; then the Standard Webhooks schedule.
HTTP_SCHEDULE_S = (0.2, 1, 5, 15, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
HTTP_PATIENCE_MS = 3 * 86_400_000
_STEPS_S = tuple(accumulate(HTTP_SCHEDULE_S))  # for how long a message has been tried at each attempt


def settlement(
    message_id: str, outcome: Outcome, *, attempts: int, tried_ms: int, http: bool, jitter: float, probing: bool = False
) -> Settlement:
    """What to write down after an attempt. `attempts` counts earlier ones, probes behind an open breaker too, which
    come each second: so it is `tried_ms`, the time since the first attempt or a replay, that says how far an HTTP
    endpoint has come in its schedule, and no message is given up before its time, however old it is. `probing` does
    not back off. `jitter` is 0..1."""
    if isinstance(outcome, Done):
        echo_ms = None if http or outcome.guard_seen else echo_delay_ms(0)
        return Settlement(message_id, "done", outcome.sessions, outcome.guard_seen, echo_ms=echo_ms)
    if isinstance(outcome, Refused):
        # Rights or schema that a person must mend keep a kill waiting; only an HTTP endpoint may turn one down.
        if http:
            return Settlement(message_id, "gone", error=outcome.why)
        return Settlement(message_id, None, error=outcome.why, delay_ms=STORE_CAP_MS)
    if http and attempts >= len(HTTP_SCHEDULE_S) and tried_ms >= HTTP_PATIENCE_MS:
        return Settlement(message_id, "refused", error=f"given up after {attempts + 1} attempts: {outcome.why}")
    step = 0 if probing else attempts
    wait = http_delay_ms(min(step, bisect_right(_STEPS_S, tried_ms / 1000))) if http else store_delay_ms(step, jitter)
    return Settlement(message_id, None, error=outcome.why, delay_ms=max(wait, outcome.after_ms or 0))


def echo_delay_ms(echoes: int) -> int | None:
    """How long after the kill, or the last echo, the next one comes; None after the third."""
    return ECHO_GAPS_S[echoes] * 1000 if echoes < len(ECHO_GAPS_S) else None


def store_delay_ms(attempts: int, jitter: float) -> int:
    """50 ms doubled each time, at most 15 s, spread over its upper half."""
    full = min(STORE_FIRST_MS << min(attempts, 16), STORE_CAP_MS)
    return int(full * (0.5 + jitter / 2))


def http_delay_ms(attempts: int) -> int:
    """The schedule's next step."""
    return int(HTTP_SCHEDULE_S[min(attempts, len(HTTP_SCHEDULE_S) - 1)] * 1000)
