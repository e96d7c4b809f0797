"""Paging parameters and the list envelope."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol.errors import InvalidValue
from scim_server.protocol.paging import Page, list_response, parse_page


@pytest.mark.parametrize(
    ("start_index", "count", "page"),
    [
        (None, None, Page(1, 100)),
        ("", "", Page(1, 100)),
        ("1", "10", Page(1, 10)),
        ("0", "0", Page(1, 0)),
        ("-5", "-5", Page(1, 0)),
        (" 7 ", "2000", Page(7, 1000)),
        (11, 5, Page(11, 5)),
        ("9" * 30, "9" * 5000, Page(10**18 - 1, 1000)),
        (10**30, -(10**30), Page(10**18 - 1, 0)),
        ("-" + "9" * 30, None, Page(1, 100)),
    ],
)
def test_page(start_index: Any, count: Any, page: Page) -> None:
    assert parse_page(start_index, count) == page
    assert page.offset == page.start_index - 1


@pytest.mark.parametrize("garbage", ["a", "1.5", "--1", "²", 1.5, True, []])
def test_garbage_is_refused_by_name(garbage: Any) -> None:
    with pytest.raises(InvalidValue, match="startIndex"):
        parse_page(garbage, None)
    with pytest.raises(InvalidValue, match="count"):
        parse_page(None, garbage)


def test_a_smaller_maximum_also_bounds_the_default() -> None:
    assert parse_page(None, None, max_results=50) == Page(1, 50)
    assert parse_page(None, 70, max_results=50) == Page(1, 50)


@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=3), st.integers(0, 10**12), st.integers(1, 10**6))
def test_list_response_is_json(resources: list[dict[str, str]], total: int, start_index: int) -> None:
    texts = [json.dumps(resource, ensure_ascii=False) for resource in resources]
    try:
        body = list_response(iter(texts), total, start_index)
    except UnicodeEncodeError:  # half a surrogate pair: no stored document has one
        return
    assert json.loads(body) == {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }
