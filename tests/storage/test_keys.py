"""The columns, index rows and search documents that are made from a document."""

import json
from typing import Any

from storage.worlds import DEVICE

from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, USER
from scim_server.storage.change import ResourceRow, ValueRow
from scim_server.storage.keys import KEY_BYTES, beginning, index_key, row_of, search_of, values_of

ADA: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE_URN],
    "userName": "Ada@EXAMPLE.com",
    "externalId": "AbC",
    "active": True,
    "displayName": "ÄDA",
    "name": {"familyName": "Lovelace", "formatted": "Ada Lovelace"},
    "profileUrl": "https://example.com/ADA",
    "emails": [{"value": "Ada@example.com", "type": "Work", "primary": True}],
    ENTERPRISE_URN: {"employeeNumber": "A1", "manager": {"value": "M1"}},
}


def test_a_users_columns_are_folded_but_for_the_exact_ones() -> None:
    row = _row(ADA)
    assert (row.unique_key, row.external_id) == ("ada@example.com", "AbC")
    assert (row.display_name_key, row.family_name_key) == ("äda", "lovelace")
    assert json.loads(row.doc) == ADA


def test_the_search_document_is_folded_typed_and_without_exact_columns() -> None:
    assert json.loads(_row(ADA).search) == {
        "displayName": "äda",
        "name": {"familyName": "lovelace", "formatted": "ada lovelace"},
        "profileUrl": "https://example.com/ADA",
        "emails": [{"value": "ada@example.com", "type": "work", "primary": 1}],
        ENTERPRISE_URN: {"employeeNumber": "a1", "manager": {"value": "m1"}},
    }


def test_times_and_numbers_of_a_search_document_have_one_spelling() -> None:
    document = {"serial": "1", "seen": "2024-05-01T02:00:00+02:00", "height": 2.0, "ports": [1], "logins": ["2024-W18"]}
    assert search_of(document, DEVICE) == {"seen": 1_714_521_600_000, "height": 2, "ports": [1], "logins": ["2024-W18"]}


def test_group_names_are_unique_where_the_tenant_wants_it() -> None:
    group = {"displayName": "Sales"}
    rows = [row_of(group, GROUP, active=True, unique_display_name=wanted) for wanted in (True, False)]
    assert [(row.unique_key, row.display_name_key) for row in rows] == [("sales", "sales"), (None, "sales")]


def test_index_rows_are_made_of_indexed_and_of_unique_attributes() -> None:
    assert values_of(ADA, USER) == {
        ValueRow("emails.value", "ada@example.com"),
        ValueRow("enterprise:employeenumber", "a1"),
        ValueRow("enterprise:manager.value", "m1"),
    }
    device = {"serial": "S", "urn:example:Device:asset": {"label": "L1"}}
    assert values_of(device, DEVICE) == {ValueRow("urn:example:device:asset:label", "l1", exclusive=True)}


def test_a_key_always_fits_an_index_and_tells_texts_apart() -> None:
    long = "x" * (KEY_BYTES + 1)
    keys = [index_key(text) for text in (long, long + "a", "\N{GRINNING FACE}" * KEY_BYTES)]
    assert all(len(key.encode()) <= KEY_BYTES for key in keys)
    assert len(set(keys)) == 3
    assert keys[0].startswith(beginning(long))
    assert keys[1].startswith(beginning(long))
    assert index_key("x" * KEY_BYTES) == "x" * KEY_BYTES


def _row(document: dict[str, Any]) -> ResourceRow:
    return row_of(document, USER, active=True, unique_display_name=False)
