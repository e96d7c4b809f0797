"""The one place that reads the clock and makes identifiers.

Everything below the edges gets time and ids as arguments, so that it can be tested without waiting.
"""

import os
import time


def now_ms() -> int:
    """Wall-clock time as unix milliseconds: the unit of every timestamp in the product."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7) as lower-case text: sorts by creation time, so lists are stable and indexes dense."""
    value = (now_ms() << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
