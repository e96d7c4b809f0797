"""Bulk requests (RFC 7644 §3.7) as data: the envelope, `bulkId` references, an order that satisfies them.

Runs nothing: use cases execute the steps of `order`, and put ids in place of references with `substitute`. Where
operations refer to each other in a circle, one of them is made without (`parted`) and gets the rest afterwards.
"""

import heapq
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scim_server.protocol.errors import InvalidSyntax, InvalidValue, ScimError, TooLarge
from scim_server.protocol.patch import PATCH_URN

BULK_REQUEST_URN = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
BULK_RESPONSE_URN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
MAX_OPERATIONS = 1000
MAX_PAYLOAD_BYTES = 1_048_576

_METHODS = ("POST", "PUT", "PATCH", "DELETE")
_MAX_DEPTH = 32
# Alone, as a part of an address, or quoted in the path of a PATCH; not in the middle of a text.
_REFERENCE = re.compile(r'(?:\A|(?<=["/]))bulkId:([^\s"/\[\]]+)(?=["/]|\Z)')


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """One operation. `path` is "/Users" or "/Users/<id>", `data` the body, `references` the bulkIds that these two
    refer to, `refused` why it cannot run at all."""

    index: int
    method: str
    path: str
    bulk_id: str | None = None
    version: str | None = None
    data: Any = None
    references: frozenset[str] = frozenset()
    refused: ScimError | None = None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """`fail_on_errors`: stop after this many failures; None = never."""

    operations: tuple[BulkOperation, ...]
    fail_on_errors: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """Run the operation at `index`, for now `without` what refers to these bulkIds; or, with `completes`, add to what
    it made what was left out then."""

    index: int
    without: frozenset[str] = frozenset()
    completes: bool = False


def parse(body: Any, *, max_operations: int = MAX_OPERATIONS) -> BulkRequest:
    """The envelope. A fault in one operation is that operation's (`refused`); raises InvalidSyntax, InvalidValue or
    TooLarge for what concerns the whole request."""
    if type(body) is not dict:
        raise InvalidSyntax("The body must be a JSON object.")
    message = {key.lower(): value for key, value in body.items()}
    operations = message.get("operations")
    if type(operations) is not list or not operations:
        raise InvalidSyntax("Operations must be an array with at least one operation.")
    if len(operations) > max_operations:
        raise TooLarge(f"A bulk request may have {max_operations} operations: send the rest in another one.")
    limit = message.get("failonerrors")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidValue("failOnErrors must be a whole number from 1.")
    seen: set[str] = set()
    return BulkRequest(tuple(_operation(index, operation, seen) for index, operation in enumerate(operations)), limit)


def order(operations: Sequence[BulkOperation]) -> list[Step]:
    """As sent, except that whoever refers to a bulkId waits for the POST that has it. A circle is broken at its
    earliest operation, which is completed as soon as the others are made. References to a bulkId that no POST has are
    left for the one who runs the operation to refuse."""
    makers = {op.bulk_id: op.index for op in operations if op.bulk_id and op.method == "POST" and not op.refused}
    waits = {op.index: {makers[name] for name in op.references & makers.keys()} for op in operations}
    followers: dict[int, list[int]] = {index: [] for index in waits}
    for index, before in waits.items():
        for earlier in before:
            followers[earlier].append(index)
    ready = [index for index, before in waits.items() if not before]
    steps: list[Step] = []
    incomplete: dict[int, set[int]] = {}
    while waits:
        if ready:
            index = heapq.heappop(ready)
            left = waits.pop(index)
        else:
            index = _earliest_in_circle(waits)
            left = incomplete[index] = waits.pop(index)
        steps.append(Step(index, frozenset(name for name in operations[index].references if makers.get(name) in left)))
        for follower in followers[index]:
            if follower in waits:
                waits[follower].discard(index)
                if not waits[follower]:
                    heapq.heappush(ready, follower)
            elif follower in incomplete:
                incomplete[follower].discard(index)
                if not incomplete[follower]:
                    del incomplete[follower]
                    steps.append(Step(follower, completes=True))
    return steps


def parted(data: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A resource without what refers to these bulkIds, and the attributes, whole, that something was left out of."""
    rest: dict[str, Any] = {}
    affected: dict[str, Any] = {}
    for key, value in data.items():
        if ":" in key and type(value) is dict:  # an extension
            rest[key], part = parted(value, names)
            if part:
                affected[key] = part
            continue
        left = _without(value, names)
        if left is not _GONE:
            rest[key] = left
        if left != value:
            affected[key] = value
    return rest, affected


def substitute(value: Any, ids: Mapping[str, str]) -> Any:
    """`value` (a path or data) with the ids of created resources in place of `bulkId:…`; unknown ones stay."""
    if type(value) is str:
        return _REFERENCE.sub(lambda found: ids.get(found[1], found[0]), value) if "bulkId:" in value else value
    if type(value) is dict:
        return {key: substitute(item, ids) for key, item in value.items()}
    if type(value) is list:
        return [substitute(item, ids) for item in value]
    return value


def _operation(index: int, sent: Any, seen: set[str]) -> BulkOperation:
    message = {key.lower(): value for key, value in sent.items()} if type(sent) is dict else {}
    texts = {name: value for name, value in message.items() if type(value) is str}
    method, bulk_id, path = texts.get("method", "").upper(), texts.get("bulkid"), texts.get("path", "")
    data = message.get("data")
    if method == "PATCH" and type(data) is list:  # as in the RFC's own example
        data = {"schemas": [PATCH_URN], "Operations": data}
    operation = BulkOperation(index, method, path, bulk_id, texts.get("version"), data)
    try:
        _examine(operation, seen)
        references = frozenset(_references(path, operation.data))
    except ScimError as problem:
        return replace(operation, refused=problem)
    if bulk_id is not None:
        seen.add(bulk_id)
    return replace(operation, references=references)


def _examine(operation: BulkOperation, seen: set[str]) -> None:
    if operation.method not in _METHODS:
        raise InvalidSyntax("method must be POST, PUT, PATCH or DELETE.")
    if not operation.path.startswith("/"):
        raise InvalidSyntax("path must start with a slash, such as /Users.")
    if operation.method == "POST" and not operation.bulk_id:
        raise InvalidSyntax("a POST needs a bulkId.")
    if operation.bulk_id is not None and operation.bulk_id in seen:
        raise InvalidValue(f"the bulkId {operation.bulk_id!r} is used twice: give each operation its own.")
    if operation.method != "DELETE" and type(operation.data) is not dict:
        raise InvalidSyntax(f"a {operation.method} needs data.")


def _references(*values: Any) -> Iterator[str]:
    pending = [(value, 0) for value in values]
    while pending:
        value, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise InvalidSyntax(f"data is nested more than {_MAX_DEPTH} levels deep.")
        if type(value) is str:
            yield from _REFERENCE.findall(value)
        elif type(value) is dict:
            pending.extend((item, depth + 1) for item in value.values())
        elif type(value) is list:
            pending.extend((item, depth + 1) for item in value)


_GONE = object()


def _without(value: Any, names: Collection[str]) -> Any:
    """The value, elements of lists left out; an object goes whole: a `type` without its `value` says nothing."""
    if type(value) is str:
        return _GONE if any(name in names for name in _REFERENCE.findall(value)) else value
    if type(value) is dict:
        return _GONE if any(_without(item, names) is _GONE for item in value.values()) else value
    if type(value) is list:
        return [left for item in value if (left := _without(item, names)) is not _GONE]
    return value


def _earliest_in_circle(waits: Mapping[int, set[int]]) -> int:
    """Everybody waits for somebody: whoever follows that long enough walks in a circle."""
    path: dict[int, None] = {}
    index = min(waits)
    while index not in path:
        path[index] = None
        index = min(waits[index])
    walked = list(path)
    return min(walked[walked.index(index) :])
