"""`sortBy` (RFC 7644 §3.4.2.3): which attribute it names, and whether a list can be in its order."""

from scim_server.protocol.attributes import AttributeRef, ResourceType
from scim_server.protocol.errors import InvalidValue
from scim_server.protocol.notation import brief, notation, resolve

_MEMBERSHIPS = (("User", "groups"), ("Group", "members"))


def sort_attribute(text: str, resource_type: ResourceType) -> AttributeRef:
    """The attribute to sort by; of a complex one its `value`. Raises InvalidValue for a name that is not declared or
    that gives no order: a guess would answer with pages in an order nobody asked for."""
    ref = resolve(text.strip(), resource_type)
    if not isinstance(ref, AttributeRef):
        raise InvalidValue(f"sortBy: {resource_type.name} has no attribute {brief(text)}; see /Schemas.")
    if ref.extension is None and (resource_type.name, ref.attribute.name) in _MEMBERSHIPS:
        raise InvalidValue(f"sortBy: {notation(ref)} gives no order; sort by an attribute of the {resource_type.name}.")
    if ref.leaf.type == "complex":
        value = ref.attribute.sub("value")
        if value is None:
            known = ", ".join(f"{notation(ref)}.{sub.name}" for sub in ref.attribute.sub_attributes)
            raise InvalidValue(f"sortBy: {notation(ref)} is complex; sort by one of {known}.")
        ref = AttributeRef(ref.extension, ref.attribute, value)
    if "never" in (ref.attribute.returned, ref.leaf.returned):
        raise InvalidValue(f"sortBy: {notation(ref)} is never returned and gives no order; leave it out.")
    return ref
