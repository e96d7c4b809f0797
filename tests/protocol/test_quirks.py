"""Dialects: each request as sent and as meant."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scim_server.protocol import patch, quirks
from scim_server.protocol.attributes import INTEROP, ResourceType
from scim_server.protocol.resource import check
from scim_server.protocol.schemas import ENTERPRISE_URN, GROUP, GROUP_URN, USER, USER_URN

MISSPELT = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"
MICROSOFT = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
OKTA = "urn:okta:custom:group:1.0"
ROLE = '{"id":"1","value":"sales","displayName":"Sales"}'


@pytest.mark.parametrize(
    ("name", "resource_type", "sent", "meant"),
    [
        (
            "misspelt-enterprise-urn",
            USER,
            {"schemas": [USER_URN, MISSPELT], MISSPELT: {"department": "R"}},
            {"schemas": [USER_URN, ENTERPRISE_URN], ENTERPRISE_URN: {"department": "R"}},
        ),
        ("microsoft-group-schema", GROUP, {"schemas": [GROUP_URN, MICROSOFT]}, {"schemas": [GROUP_URN]}),
        (
            "custom-group-schema",
            GROUP,
            {"schemas": [GROUP_URN, OKTA], OKTA: {"description": "x"}},
            {"schemas": [GROUP_URN]},
        ),
        ("custom-group-schema", GROUP, {OKTA: {"description": "x"}, "displayName": "g"}, {"displayName": "g"}),
        (
            "path-keys",
            USER,
            {"department": "R", "manager": "26", "name.givenName": "Ada", "Name": {"familyName": "King"}},
            {
                "Name": {"familyName": "King", "givenName": "Ada"},
                ENTERPRISE_URN: {"department": "R", "manager": "26"},
            },
        ),
        (
            "path-keys",
            USER,
            {f"{ENTERPRISE_URN}:costCenter": "7", ENTERPRISE_URN: {"costCenter": "8"}},
            {ENTERPRISE_URN: {"costCenter": "8"}},
        ),
        ("path-keys", USER, {f"{USER_URN}:title": "Dr"}, {"title": "Dr"}),
        (
            "manager-id",
            USER,
            {ENTERPRISE_URN: {"manager": {"managerId": "26", "displayName": "B"}}},
            {ENTERPRISE_URN: {"manager": {"value": "26", "displayName": "B"}}},
        ),
        (
            "roles-in-json-text",
            USER,
            {"roles": [{"value": ROLE, "primary": True}, {"value": "plain"}]},
            {"roles": [{"value": "sales", "primary": True, "display": "Sales"}, {"value": "plain"}]},
        ),
        ("roles-in-json-text", USER, {"roles": [ROLE]}, {"roles": [{"value": "sales", "display": "Sales"}]}),
        (
            "display-name-of-element",
            GROUP,
            {"Members": [{"value": "a", "displayName": "A"}]},
            {"Members": [{"value": "a", "display": "A"}]},
        ),
        # Names have no case (RFC 7643 §2.1).
        (
            "misspelt-enterprise-urn",
            USER,
            {"schemas": [MISSPELT.lower(), 7], MISSPELT.upper(): {"department": "R"}},
            {"schemas": [ENTERPRISE_URN, 7], ENTERPRISE_URN: {"department": "R"}},
        ),
        (
            "manager-id",
            USER,
            {ENTERPRISE_URN.lower(): {"Manager": {"ManagerID": "26"}}},
            {ENTERPRISE_URN.lower(): {"Manager": {"value": "26"}}},
        ),
        ("roles-in-json-text", USER, {"Roles": [{"Value": ROLE}]}, {"Roles": [{"Value": "sales", "display": "Sales"}]}),
        (
            "display-name-of-element",
            USER,
            {"roles": [{"value": "a", "DisplayName": "A"}]},
            {"roles": [{"value": "a", "display": "A"}]},
        ),
    ],
)
def test_resources(name: str, resource_type: ResourceType, sent: dict[str, Any], meant: dict[str, Any]) -> None:
    before = copy.deepcopy(sent)
    assert quirks.straighten_resource(sent, resource_type) == (meant, (name,))
    assert sent == before
    assert quirks.straighten_resource(meant, resource_type) == (meant, ())


def envelope(*operations: Any) -> dict[str, Any]:
    return {"schemas": [patch.PATCH_URN], "Operations": list(operations)}


@pytest.mark.parametrize(
    ("name", "resource_type", "sent", "meant"),
    [
        (
            "misspelt-enterprise-urn",
            USER,
            {"op": "replace", "path": f"{MISSPELT}:department", "value": "R"},
            {"op": "replace", "path": f"{ENTERPRISE_URN}:department", "value": "R"},
        ),
        (
            "misspelt-enterprise-urn",
            USER,
            {"op": "replace", "value": {f"{MISSPELT}:department": "R"}},
            {"op": "replace", "value": {f"{ENTERPRISE_URN}:department": "R"}},
        ),
        (
            "manager-id",
            USER,
            {"op": "add", "path": "manager", "value": {"managerId": "26"}},
            {"op": "add", "path": "manager", "value": {"value": "26"}},
        ),
        (
            "manager-id",
            USER,
            {"op": "add", "value": {ENTERPRISE_URN: {"manager": {"managerId": "26"}}}},
            {"op": "add", "value": {ENTERPRISE_URN: {"manager": {"value": "26"}}}},
        ),
        (
            "roles-in-json-text",
            USER,
            {"op": "Add", "path": "roles", "value": [{"value": ROLE}]},
            {"op": "Add", "path": "roles", "value": [{"value": "sales", "display": "Sales"}]},
        ),
        (
            "roles-in-json-text",
            USER,
            {"op": "Add", "value": {"roles": [{"value": ROLE}]}},
            {"op": "Add", "value": {"roles": [{"value": "sales", "display": "Sales"}]}},
        ),
        (
            "display-name-of-element",
            GROUP,
            {"op": "add", "path": "members", "value": [{"value": "a", "displayName": "A"}]},
            {"op": "add", "path": "members", "value": [{"value": "a", "display": "A"}]},
        ),
        (
            "display-name-of-element",
            GROUP,
            {"op": "add", "path": f"{GROUP_URN}:members", "value": {"value": "a", "displayName": "A"}},
            {"op": "add", "path": f"{GROUP_URN}:members", "value": {"value": "a", "display": "A"}},
        ),
        (
            "display-name-of-element",
            GROUP,
            {"op": "add", "path": f"{GROUP_URN.lower()}:Members", "value": {"value": "a", "displayname": "A"}},
            {"op": "add", "path": f"{GROUP_URN.lower()}:Members", "value": {"value": "a", "display": "A"}},
        ),
        (
            "manager-id",
            USER,
            {"op": "add", "path": "Manager", "value": {"managerid": "26"}},
            {"op": "add", "path": "Manager", "value": {"value": "26"}},
        ),
        (
            "misspelt-enterprise-urn",
            USER,
            {"op": "replace", "path": f"{MISSPELT.lower()}:department", "value": {f"{MISSPELT.upper()}:division": "S"}},
            {"op": "replace", "path": f"{ENTERPRISE_URN}:department", "value": {f"{ENTERPRISE_URN}:division": "S"}},
        ),
        (
            "envelope-keys",
            USER,
            {"Op": "add", "PATH": "title", "Value": "x", "name": "y"},
            {"op": "add", "path": "title", "value": "x", "name": "y"},
        ),
    ],
)
def test_operations(name: str, resource_type: ResourceType, sent: dict[str, Any], meant: dict[str, Any]) -> None:
    assert quirks.straighten_patch(envelope(sent), resource_type) == (envelope(meant), (name,))
    assert quirks.straighten_patch(envelope(meant), resource_type) == (envelope(meant), ())


def test_envelope_keys_in_another_case() -> None:
    sent = {"SCHEMAS": [patch.PATCH_URN], "operations": [{"op": "remove", "path": "title"}]}
    meant = envelope({"op": "remove", "path": "title"})
    assert quirks.straighten_patch(sent, USER) == (meant, ("envelope-keys",))


@pytest.mark.parametrize(
    "untouched",
    [
        {"roles": [{"value": "{not json"}, {"value": "{}"}, {"value": '{"value": 5}'}, 7]},
        {"roles": [{"value": '{"value": "\\ud800"}'}, {"value": '{"value": "x", "id": NaN}'}]},
        {"roles": [{"value": '{"value": "x", "id": ' + "[" * 5000 + "]" * 5000 + "}"}]},
        {ENTERPRISE_URN: {"manager": {"value": "26", "displayName": "B"}}},
        {"emails": [{"value": "a", "display": "A", "displayName": "B"}]},
        {"shoeSize": 44, "urn:example:x:thing": 1},
        {"displayName": "A", "schemas": 5, "emails": {}},
    ],
)
def test_what_is_no_dialect_passes(untouched: dict[str, Any]) -> None:
    body, names = quirks.straighten_resource(untouched, USER)
    assert body is untouched
    assert names == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(ROLE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "schemas",
        "roles",
        "members",
        "manager",
        "name.givenName",
        "Operations",
        "op",
        "path",
        "value",
        MISSPELT,
        ENTERPRISE_URN,
        OKTA,
    ]
)
BODIES = JSON | st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=3), max_size=2))


@given(BODIES, st.sampled_from([USER, GROUP]))
def test_any_json_passes_without_harm(body: Any, resource_type: ResourceType) -> None:
    before = copy.deepcopy(body)
    quirks.straighten_patch(body, resource_type)
    straight, _ = quirks.straighten_resource(body, resource_type)
    assert quirks.straighten_resource(straight, resource_type) == (straight, ())
    assert body == before


def test_every_quirk_is_documented() -> None:
    catalogue = quirks.catalogue()
    assert {"misspelt-enterprise-urn", "manager-id", "string-boolean", "envelope-keys"} <= catalogue.keys()
    for name, text in catalogue.items():
        assert text.strip(), name
        assert name in quirks.READ_IN_PLACE or ("as sent:" in text and "as meant:" in text), name


# --- whole requests, through quirks and reading ---


def created(body: dict[str, Any], resource_type: ResourceType = USER) -> dict[str, Any]:
    straight, _ = quirks.straighten_resource(body, resource_type)
    return check(straight, resource_type, INTEROP, active=True).document


def test_entra_creates_a_user() -> None:
    body = {
        "schemas": [USER_URN, MISSPELT],
        "userName": "nora@crm.example",
        "active": "True",
        "addresses": None,
        "emails": [{"primary": "True", "type": "work", "value": "nora@crm.example"}],
        "meta": {"resourceType": "User"},
        "roles": [],
        "department": None,
        "manager": "26",
    }
    assert created(body) == {
        "schemas": [USER_URN, ENTERPRISE_URN],
        "userName": "nora@crm.example",
        "active": True,
        "emails": [{"primary": True, "type": "work", "value": "nora@crm.example"}],
        ENTERPRISE_URN: {"manager": {"value": "26"}},
    }


def test_onelogin_creates_a_user() -> None:
    body = {
        "id": None,
        "userName": "per",
        "active": "true",
        ENTERPRISE_URN: {"department": "", "manager": {"managerId": "", "displayName": " "}},
    }
    assert created(body) == {"schemas": [USER_URN], "userName": "per", "active": True}


def test_entra_updates_a_user_in_both_dialects() -> None:
    verbose = envelope(
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Add", "path": "name.givenName", "value": "B"},
        {"op": "Add", "path": f"{ENTERPRISE_URN}:manager", "value": "26"},
    )
    compact = envelope(
        {
            "op": "replace",
            "value": {"active": False, "name.givenName": "B", f"{ENTERPRISE_URN}:manager": {"value": "26"}},
        }
    )
    document = created({"userName": "ada"})
    results = []
    for body in (verbose, compact):
        straight, _ = quirks.straighten_patch(body, USER)
        results.append(patch.apply(document, patch.parse(straight, USER, INTEROP), USER, INTEROP))
    assert results[0].document == results[1].document
    assert results[0].active is results[1].active is False


def test_a_role_nested_without_end_is_no_role_and_no_fault() -> None:
    text = '{"value":' * 50_000 + "1" + "}" * 50_000
    body = {"roles": [{"value": text}]}
    assert quirks.straighten_resource(body, USER) == (body, ())
    patch = {"Operations": [{"op": "add", "path": "roles", "value": [{"value": text}]}]}
    assert quirks.straighten_patch(patch, USER) == (patch, ())
