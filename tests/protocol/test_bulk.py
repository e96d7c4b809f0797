"""Bulk: the envelope, references and the order they ask for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol import bulk
from scim_server.protocol.bulk import BulkOperation
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


def steps(*sent: Any) -> list[str]:
    """`0`, `0-b` for "without b", `0+` for its completion."""
    found = bulk.order(operations(*sent))
    return [
        f"{step.index}{'+' * step.completes}{''.join(f'-{name}' for name in sorted(step.without))}" for step in found
    ]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([post("a"), post("b")], ["0", "1"]),
        ([post("a", "b"), post("b")], ["1", "0"]),
        ([post("a", "b"), post("c"), post("b", "d"), post("d")], ["1", "3", "2", "0"]),
        ([post("a", "b"), post("b", "a"), post("c")], ["2", "0-b", "1", "0+"]),
        ([post("a", "a")], ["0-a", "0+"]),
        ([post("a", "b"), post("b", "b")], ["1-b", "1+", "0"]),
        ([post("a", "b"), post("b", "c"), post("c", "a")], ["0-b", "2", "1", "0+"]),
        ([post("a", "b", "c"), post("b", "a"), post("c", "a")], ["0-b-c", "1", "2", "0+"]),
        ([post("a", "x"), post("b", "a")], ["0", "1"]),
        ([{"method": "GET"}, post("b")], ["0", "1"]),
    ],
)
def test_order(sent: list[Any], expected: list[str]) -> None:
    assert steps(*sent) == expected


@given(st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=10))
def test_everything_runs_once_and_finds_what_it_refers_to(references: list[list[int]]) -> None:
    sent = [post(str(index), *map(str, names)) for index, names in enumerate(references)]
    made: set[str] = set()
    incomplete: dict[int, frozenset[str]] = {}
    for step in bulk.order(operations(*sent)):
        if step.completes:
            assert incomplete.pop(step.index) <= made
            continue
        needed = {str(name) for name in references[step.index] if name < len(sent)}
        assert needed - step.without <= made
        assert str(step.index) not in made
        made.add(str(step.index))
        if step.without:
            incomplete[step.index] = step.without
    assert len(made) == len(sent)
    assert not incomplete


def test_long_chains_take_no_stack() -> None:
    chain = [post(str(index), str(index + 1)) for index in range(999)]
    assert [step.index for step in bulk.order(operations(*chain, post("999")))] == list(range(999, -1, -1))


def test_what_refers_in_a_circle_is_left_out_whole_and_kept_for_later() -> None:
    urn = "urn:example:extension"
    members = [{"value": "bulkId:b", "type": "Group"}, {"value": "c"}]
    data = {"displayName": "A", "members": members, "nick": "bulkId:b", urn: {"boss": {"value": "bulkId:b"}, "n": 1}}
    rest, affected = bulk.parted(data, {"b"})
    assert rest == {"displayName": "A", "members": [{"value": "c"}], urn: {"n": 1}}
    assert affected == {"members": members, "nick": "bulkId:b", urn: {"boss": {"value": "bulkId:b"}}}
    assert bulk.parted(data, {"other"}) == (data, {})


def test_operations_of_a_patch_may_stand_alone() -> None:
    (operation,) = operations({"method": "PATCH", "path": "/Users/1", "data": [{"op": "remove", "path": "title"}]})
    assert operation.refused is None
    assert operation.data["Operations"] == [{"op": "remove", "path": "title"}]
