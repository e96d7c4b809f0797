"""Bulk: the envelope, references and the order they ask for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol import bulk
from scim_server.protocol.bulk import BulkOperation, Order
from scim_server.protocol.errors import InvalidSyntax, InvalidValue, TooLarge


def post(bulk_id: str, *references: str, path: str = "/Groups") -> dict[str, Any]:
    members = [{"value": f"bulkId:{name}"} for name in references]
    return {"method": "POST", "path": path, "bulkId": bulk_id, "data": {"displayName": bulk_id, "members": members}}


def operations(*sent: Any) -> tuple[BulkOperation, ...]:
    return bulk.parse({"Operations": list(sent)}).operations


def test_envelope() -> None:
    request = bulk.parse(
        {
            "schemas": [bulk.BULK_REQUEST_URN],
            "failOnErrors": 2,
            "operations": [
                {"Method": "put", "path": "/Users/1", "version": 'W/"3"', "data": {"userName": "a"}},
                {"method": "DELETE", "path": "/Users/2"},
            ],
        }
    )
    first, second = request.operations
    assert request.fail_on_errors == 2
    assert (first.index, first.method, first.path, first.version) == (0, "PUT", "/Users/1", 'W/"3"')
    assert first.data == {"userName": "a"}
    assert (second.index, second.method, second.data, second.refused) == (1, "DELETE", None, None)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ([], InvalidSyntax),
        ({}, InvalidSyntax),
        ({"Operations": []}, InvalidSyntax),
        ({"Operations": {}}, InvalidSyntax),
        ({"Operations": [{}] * 1001}, TooLarge),
        ({"Operations": [{}], "failOnErrors": 0}, InvalidValue),
        ({"Operations": [{}], "failOnErrors": True}, InvalidValue),
    ],
)
def test_a_broken_envelope_is_refused(body: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        bulk.parse(body)


def nested(depth: int) -> dict[str, Any]:
    data: Any = "x"
    for _ in range(depth):
        data = [data]
    return {"x": data}


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        (None, "method"),
        ({"method": "GET", "path": "/Users"}, "method"),
        ({"method": "PUT", "path": "Users", "data": {}}, "slash"),
        ({"method": "PUT", "data": {}}, "slash"),
        ({"method": "POST", "path": "/Users", "data": {}}, "bulkId"),
        ({"method": "PATCH", "path": "/Users/1"}, "data"),
        ({"method": "PUT", "path": "/Users/1", "data": []}, "data"),
        ({"method": "PUT", "path": "/Users/1", "data": nested(500)}, "levels"),
    ],
)
def test_a_broken_operation_is_its_own_fault(operation: Any, fault: str) -> None:
    good, broken = operations(post("a"), operation)
    assert good.refused is None
    assert broken.refused is not None
    assert fault in broken.refused.detail


def test_a_bulk_id_names_one_operation() -> None:
    first, second = operations(post("a"), post("a"))
    assert first.refused is None
    assert second.refused is not None
    assert "used twice" in second.refused.detail


def test_references_are_found_where_they_are_meant() -> None:
    path = 'members[value eq "bulkId:b"]'
    (operation,) = operations(
        {
            "method": "PATCH",
            "path": "/Groups/bulkId:a",
            "data": {
                "Operations": [{"op": "remove", "path": path}, {"op": "add", "value": ["bulkId:c"]}],
                "title": "see bulkId:d for more",
            },
        }
    )
    assert operation.references == {"a", "b", "c"}
    ids = {"a": "1", "b": "2"}
    assert bulk.substitute(operation.path, ids) == "/Groups/1"
    assert bulk.substitute(operation.data, ids) == {
        "Operations": [{"op": "remove", "path": 'members[value eq "2"]'}, {"op": "add", "value": ["bulkId:c"]}],
        "title": "see bulkId:d for more",
    }


@pytest.mark.parametrize(
    ("sent", "run", "circular", "dangling"),
    [
        ([post("a"), post("b")], (0, 1), set(), {}),
        ([post("a", "b"), post("b")], (1, 0), set(), {}),
        ([post("a", "b"), post("c"), post("b", "d"), post("d")], (1, 3, 2, 0), set(), {}),
        ([post("a", "b"), post("b", "a"), post("c")], (2,), {0, 1}, {}),
        ([post("a", "a")], (), {0}, {}),
        ([post("a", "b"), post("b", "b")], (), {0, 1}, {}),
        ([post("a", "x"), post("b", "a")], (1,), set(), {0: "x"}),
        ([{"method": "GET"}, post("b")], (0, 1), set(), {}),
    ],
)
def test_order(sent: list[Any], run: tuple[int, ...], circular: set[int], dangling: dict[int, str]) -> None:
    order = bulk.order(operations(*sent))
    assert order == Order(run, frozenset(circular), dangling)


@given(st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=10))
def test_whoever_runs_finds_what_it_refers_to(references: list[list[int]]) -> None:
    sent = [post(str(index), *map(str, names)) for index, names in enumerate(references)]
    order = bulk.order(operations(*sent))
    assert sorted([*order.run, *order.circular, *order.dangling]) == list(range(len(sent)))
    for position, index in enumerate(order.run):
        for name in references[index]:
            assert name in order.run[:position] or name in order.dangling


def test_long_chains_take_no_stack() -> None:
    chain = [post(str(index), str(index + 1)) for index in range(999)]
    order = bulk.order(operations(*chain, post("999")))
    assert order.run == tuple(range(999, -1, -1))
