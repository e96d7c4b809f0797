"""Which value of a refused resource another one has, so that the refusal says what to look for (RFC 7644 §3.12)."""

import uuid
from collections.abc import Mapping
from typing import Any

from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.errors import Uniqueness
from scim_server.protocol.notation import notation
from scim_server.storage import resources
from scim_server.storage.keys import indexed_values, key_columns
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment

_NEW = str(uuid.UUID(int=0))  # nothing has this id


async def taken(
    deployment: Deployment,
    caller: Caller,
    rt: ResourceType,
    resource_id: str | None,
    document: Mapping[str, Any],
    unique_key: str | None,
) -> Uniqueness:
    """The refusal of a resource that was to be stored under this id, None for a new one. The other one, of which this
    is asked afterwards, may be gone."""
    database, tenant_id = deployment.database, caller.tenant_id
    holder = unique_key and await resources.holder_of(database, tenant_id, rt.name, unique_key)
    if holder and holder != resource_id:
        ref = _of_unique_key(rt)
        return _says(rt, ref, document.get(ref.attribute.name))
    values = list(indexed_values(document, rt))
    rows = [row for *_, row in values]
    held = await resources.held_by_others(database, tenant_id, rt.name, resource_id or _NEW, rows)
    for ref, value, row in values:
        if (row.attr, row.value_key) in held:
            return _says(rt, ref, value)
    return Uniqueness(f"Another {rt.name} of this tenant had one of this resource's unique values; repeat the request.")


def _of_unique_key(rt: ResourceType) -> AttributeRef:
    found = {column: ref for ref, column in key_columns(rt).items()}
    return found.get("unique_key") or found["display_name_key"]  # which groups share it where a tenant wants them to


def _says(rt: ResourceType, ref: AttributeRef, value: Any) -> Uniqueness:
    which = f"the same {notation(ref)}" if ref.leaf.returned == "never" else f"the {notation(ref)} {value!r}"
    return Uniqueness(f"Another {rt.name} of this tenant has {which}; look it up by filter and update it.")
