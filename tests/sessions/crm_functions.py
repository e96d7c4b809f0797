"""What a CRM's programmer may write for a store of kind `python`: its sessions and gates are in memory here."""

import asyncio
from threading import Lock

from scim_server.sessions.port import Delivery, Gate

SESSIONS: dict[str, set[str]] = {}
GATES: dict[str, Gate] = {}
_LOCK = Lock()
NOT_A_FUNCTION = 1


def forget_all() -> None:
    """Begin anew."""
    SESSIONS.clear()
    GATES.clear()


def end_sessions(delivery: Delivery) -> int:
    """Gate first, only ever forward; then the sessions, unless somebody was let in later."""
    gate = delivery.gate
    assert gate is not None
    with _LOCK:
        known = GATES.get(delivery.subject)
        if known is None or (gate.epoch, not gate.denied) > (known.epoch, not known.denied):
            GATES[delivery.subject] = gate
        elif not known.denied and (known.epoch, known.denied) != (gate.epoch, gate.denied):
            return 0
        return len(SESSIONS.pop(delivery.subject, ())) if delivery.action == "terminate" else 0


async def end_sessions_soon(delivery: Delivery) -> int | None:
    """The same as a coroutine."""
    await asyncio.sleep(0)
    return end_sessions(delivery) or None


class Ender:
    """A callable object, and a function of an object."""

    async def __call__(self, delivery: Delivery) -> int:
        return end_sessions(delivery)

    def end(self, delivery: Delivery) -> int:
        return end_sessions(delivery)


ender = Ender()
