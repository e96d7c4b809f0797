"""Bulk requests (RFC 7644 §3.7) as data: the envelope, `bulkId` references, an order that satisfies them.

Runs nothing: use cases execute the operations in `order`, and put ids in place of references with `substitute`.
"""

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scim_server.protocol.errors import InvalidSyntax, InvalidValue, ScimError, TooLarge

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
class Order:
    """Indexes in the order to `run`, and what cannot: `circular` operations refer to each other (or to such), and
    `dangling` ones to a bulkId (the value) that no POST of the request has. Both are to be answered 409."""

    run: tuple[int, ...]
    circular: frozenset[int]
    dangling: Mapping[int, str]


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


def order(operations: Sequence[BulkOperation]) -> Order:
    """As sent, except that whoever refers to a bulkId waits for the POST that has it."""
    makers = {op.bulk_id: op.index for op in operations if op.bulk_id and op.method == "POST" and not op.refused}
    waits: dict[int, set[int]] = {}
    dangling: dict[int, str] = {}
    for operation in operations:
        unmade = operation.references - makers.keys()
        if unmade:
            dangling[operation.index] = min(unmade)
        else:
            waits[operation.index] = {makers[name] for name in operation.references}
    run = _sorted(waits)
    return Order(tuple(run), frozenset(waits.keys() - set(run)), dangling)


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
    bulk_id, path = texts.get("bulkid"), texts.get("path", "")
    operation = BulkOperation(
        index, texts.get("method", "").upper(), path, bulk_id, texts.get("version"), message.get("data")
    )
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


def _sorted(waits: Mapping[int, set[int]]) -> list[int]:
    """Topological, always taking the earliest that waits for nothing; what is in or behind a circle is left out.
    Whoever refers to something that cannot run is told so by its reference when it runs."""
    followers: dict[int, list[int]] = {index: [] for index in waits}
    pending: dict[int, int] = {}
    for index, before in waits.items():
        present = before & waits.keys()
        pending[index] = len(present)
        for earlier in present:
            followers[earlier].append(index)
    ready = [index for index, count in pending.items() if count == 0]
    heapq.heapify(ready)
    out = []
    while ready:
        index = heapq.heappop(ready)
        out.append(index)
        for follower in followers[index]:
            pending[follower] -= 1
            if pending[follower] == 0:
                heapq.heappush(ready, follower)
    return out
