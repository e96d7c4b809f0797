"""How a subject looks inside a session record: the bytes that each common serializer writes for it.

Only ever writes; a foreign record is searched for these bytes and never decoded, because decoding a pickle or a
PHP record can run code. A subject of digits is also looked for as a number.
"""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Final


def as_bytes(subject: str) -> tuple[bytes, ...]:
    """The subject itself, for patterns that bring their own quotes."""
    return (subject.encode(),)


def as_json(subject: str) -> tuple[bytes, ...]:
    """With and without \\u escapes; a number ends with what may follow it in an object or array."""
    texts = {json.dumps(subject).encode(), json.dumps(subject, ensure_ascii=False).encode()}
    numbers = (f"{subject}{end}".encode() for end in ",}]") if _is_number(subject) else ()
    return (*texts, *numbers)


def as_pickle(subject: str) -> tuple[bytes, ...]:
    """The value after a memoized key in protocols 4 and 5, which is what Python writes by default."""
    text = subject.encode()
    head = b"\x8c" + struct.pack("<B", len(text)) if len(text) < 256 else b"X" + struct.pack("<I", len(text))
    found = [b"\x94" + head + text + b"\x94"]
    if _is_number(subject):
        number = int(subject)
        if number < 1 << 8:
            found.append(b"\x94K" + struct.pack("<B", number))
        elif number < 1 << 16:
            found.append(b"\x94M" + struct.pack("<H", number))
        elif number < 1 << 31:
            found.append(b"\x94J" + struct.pack("<i", number))
    return tuple(found)


def as_msgpack(subject: str) -> tuple[bytes, ...]:
    """MessagePack's str and, in its shortest form, uint."""
    text = subject.encode()
    if len(text) < 32:
        head = struct.pack(">B", 0xA0 | len(text))
    elif len(text) < 256:
        head = struct.pack(">BB", 0xD9, len(text))
    else:
        head = struct.pack(">BH", 0xDA, len(text))
    return (head + text, *([_msgpack_number(int(subject))] if _is_number(subject) else []))


def as_php(subject: str) -> tuple[bytes, ...]:
    """PHP's serialize()."""
    text = subject.encode()
    found = (b's:%d:"%b";' % (len(text), text),)
    return (*found, b"i:%b;" % text) if _is_number(subject) else found


ENCODINGS: Final[Mapping[str, Callable[[str], tuple[bytes, ...]]]] = {
    "subject": as_bytes,
    "json": as_json,
    "pickle": as_pickle,
    "msgpack": as_msgpack,
    "php": as_php,
}
"""The names that `value_contains` may hold in braces."""


def _is_number(subject: str) -> bool:
    return subject.isascii() and subject.isdigit() and len(subject) < 19 and str(int(subject)) == subject


def _msgpack_number(number: int) -> bytes:
    if number < 128:
        return struct.pack(">B", number)
    for mark, form, limit in ((0xCC, "B", 8), (0xCD, "H", 16), (0xCE, "I", 32)):
        if number < 1 << limit:
            return struct.pack(f">B{form}", mark, number)
    return struct.pack(">BQ", 0xCF, number)
