"""The one place that reads the clock and makes identifiers.

Everything below the edges gets time and ids as arguments, so that it can be tested without waiting.
"""

import io
import os
import threading
import time

_RANDOM_BITS = 74
_lock = threading.Lock()
_last = 0
_entropy = io.BytesIO()  # a stock: the kernel charges more for a few bytes than an id costs otherwise


def now_ms() -> int:
    """Wall-clock time as unix milliseconds: the unit of every timestamp in the product."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7, §6.2) as lower-case text: sorts by creation time, so lists are stable and indexes dense.
    Those of one process rise even within a millisecond, so what one write says stays in order."""
    global _last
    with _lock:
        _last = max(now_ms() << _RANDOM_BITS | _drawn() >> 80 - _RANDOM_BITS, _last + 1)
        drawn = _last
    head, tail = drawn >> 62, drawn & (1 << 62) - 1
    text = f"{head >> 12:012x}7{head & 0xFFF:03x}{1 << 63 | tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _drawn() -> int:
    """80 random bits."""
    global _entropy
    taken = _entropy.read(10)
    if len(taken) < 10:
        _entropy = io.BytesIO(os.urandom(4_000))
        taken = _entropy.read(10)
    return int.from_bytes(taken)
