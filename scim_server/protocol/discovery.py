"""The JSON of /Schemas, /ResourceTypes and /ServiceProviderConfig (RFC 7643 §5-§7, RFC 9865 §4).

Pure rendering: the caller decides what is offered. Every capability is stated and nothing is null, because
clients read a missing one as "not supported".
"""

from collections.abc import Collection
from typing import Any

from scim_server.protocol.attributes import COMMON, Attribute, ResourceType, Schema
from scim_server.protocol.schemas import GROUP_URN, USER_URN

SCHEMA_URN = "urn:ietf:params:scim:schemas:core:2.0:Schema"
RESOURCE_TYPE_URN = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SERVICE_PROVIDER_CONFIG_URN = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"

_EXTERNAL_ID = next(attribute for attribute in COMMON if attribute.name == "externalId")


def schema(
    schema: Schema, base_url: str, *, without: Collection[str] = (), unique: Collection[str] = ()
) -> dict[str, Any]:
    """One entry of /Schemas (RFC 7643 §7). `base_url` ends before "/Schemas"; `without` names top-level attributes to
    leave out, `unique` those that a tenant's options make unique. The core schemas list externalId too: Entra maps only
    what it finds here."""
    attributes = schema.attributes
    if schema.id in (USER_URN, GROUP_URN):
        attributes = (_EXTERNAL_ID, *attributes)
    return {
        "schemas": [SCHEMA_URN],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": [
            _attribute(entry) | ({"uniqueness": "server"} if entry.name in unique else {})
            for entry in attributes
            if entry.name not in without
        ],
        "meta": {"resourceType": "Schema", "location": f"{base_url}/Schemas/{schema.id}"},
    }


def resource_type(resource_type: ResourceType, base_url: str) -> dict[str, Any]:
    """One entry of /ResourceTypes (RFC 7643 §6)."""
    return {
        "schemas": [RESOURCE_TYPE_URN],
        "id": resource_type.name,
        "name": resource_type.name,
        "endpoint": resource_type.endpoint,
        "description": resource_type.description,
        "schema": resource_type.schema.id,
        "schemaExtensions": [
            {"schema": extension.id, "required": required} for extension, required in resource_type.extensions
        ],
        "meta": {
            "resourceType": "ResourceType",
            "location": f"{base_url}/ResourceTypes/{resource_type.name}",
        },
    }


def service_provider_config(
    base_url: str,
    *,
    max_results: int,
    default_results: int,
    cursor_timeout_s: int,
    bulk_max_operations: int,
    bulk_max_payload_size: int,
    bulk: bool = True,
    sort: bool = True,
    etag: bool = True,
    change_password: bool = False,
    documentation_uri: str | None = None,
) -> dict[str, Any]:
    """The answer of /ServiceProviderConfig (RFC 7643 §5, pagination of RFC 9865 §4). Sizes in bytes."""
    config: dict[str, Any] = {
        "schemas": [SERVICE_PROVIDER_CONFIG_URN],
        "patch": {"supported": True},
        "bulk": {
            "supported": bulk,
            "maxOperations": bulk_max_operations,
            "maxPayloadSize": bulk_max_payload_size,
        },
        "filter": {"supported": True, "maxResults": max_results},
        "changePassword": {"supported": change_password},
        "sort": {"supported": sort},
        "etag": {"supported": etag},
        "pagination": {
            "cursor": True,
            "index": True,
            "defaultPaginationMethod": "index",
            "defaultPageSize": default_results,
            "maxPageSize": max_results,
            "cursorTimeout": cursor_timeout_s,
        },
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A token issued for one tenant, sent in the Authorization header.",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": True,
            }
        ],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": f"{base_url}/ServiceProviderConfig",
        },
    }
    if documentation_uri is not None:
        config["documentationUri"] = documentation_uri
    return config


def _attribute(attribute: Attribute) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.type,
        "multiValued": attribute.multi_valued,
        "description": attribute.description,
        "required": attribute.required,
        "caseExact": attribute.case_exact,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
        "uniqueness": attribute.uniqueness,
    }
    if attribute.canonical_values:
        rendered["canonicalValues"] = list(attribute.canonical_values)
    if attribute.reference_types:
        rendered["referenceTypes"] = list(attribute.reference_types)
    if attribute.type == "complex":
        rendered["subAttributes"] = [_attribute(sub) for sub in attribute.sub_attributes]
    return rendered
