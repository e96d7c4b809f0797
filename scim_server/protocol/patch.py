"""PATCH (RFC 7644 §3.5.2): a body becomes operations with checked paths, operations become a new document.

Nothing is changed in place: each operation makes a new document out of the last, sharing what it did not touch,
so a failure leaves no trace and no change gives back the very same object. What happens to one value is decided
in `edit`, what happens to members in `membership`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scim_server.protocol.attributes import Attribute, AttributeRef, Profile, ResourceType
from scim_server.protocol.edit import Edit, Verb
from scim_server.protocol.errors import (
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    ScimError,
    TooLarge,
)
from scim_server.protocol.membership import MemberDraft, MemberEdits
from scim_server.protocol.notation import UnknownExtension
from scim_server.protocol.path import Path, SchemaPath, parse_path
from scim_server.protocol.resource import demand_required, schemas_of
from scim_server.protocol.schemas import MEMBERS, PASSWORD
from scim_server.protocol.value import Reading, missing, read

PATCH_URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MAX_OPERATIONS = 1000
MAX_PATHS = 131_072  # characters of all paths together: reading a filter costs more than reading JSON

Target = Path | SchemaPath | UnknownExtension
_VERBS: Mapping[str, Verb] = {"add": "add", "remove": "remove", "replace": "replace"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one attribute. A pathless operation becomes one of these for each attribute in its value.

    `index` counts the operations of the request from 0, `text` is the path or key as sent, `value` None when
    unsaid. `keyed`: the target was a key of a value, where read-only attributes are ignored; `as_path`: the key was
    more than the name of a core attribute.
    """

    index: int
    verb: Verb
    text: str
    target: Target
    value: Any = None
    keyed: bool = False
    as_path: bool = False


@dataclass(frozen=True, slots=True)
class Patched:
    """The outcome of a PATCH. `document` is the input object itself when nothing in it changed.

    `active` is what the user's state must become, None to leave it: removing the attribute hides it but does not
    change the state. `password` is None when untouched and "" when removed. `ignored` and `quirks` go to the log.
    """

    document: dict[str, Any]
    members: MemberEdits
    active: bool | None
    password: str | None
    ignored: tuple[str, ...]
    quirks: tuple[str, ...]


def parse(body: Any, resource_type: ResourceType, profile: Profile) -> list[Operation]:
    """The operations of a PATCH body, at most MAX_OPERATIONS, with paths checked against the schema.

    Raises InvalidSyntax, InvalidPath, InvalidFilter, InvalidValue, NoTarget or TooLarge.
    """
    if type(body) is not dict:
        raise InvalidSyntax("The body must be a JSON object.")
    messages = body.get("Operations")
    if type(messages) is not list or not messages:
        raise InvalidSyntax("Operations must be an array with at least one operation.")
    if len(messages) > MAX_OPERATIONS:
        raise TooLarge(f"A PATCH may have {MAX_OPERATIONS} operations: send the rest in another request.")
    if sum(len(path) for each in messages if type(each) is dict and type(path := each.get("path")) is str) > MAX_PATHS:
        raise TooLarge(f"The paths of a PATCH may have {MAX_PATHS} characters together: send the rest separately.")
    schemas = body.get("schemas")
    if profile.refuse_unknown_attributes and not (type(schemas) is list and PATCH_URN in schemas):
        raise InvalidSyntax(f"schemas must contain {PATCH_URN}.")
    operations: list[Operation] = []
    for index, message in enumerate(messages):
        try:
            operations.extend(_operations(index, message, resource_type, profile))
        except ScimError as problem:
            raise _located(problem, index) from None
    return operations


def apply(
    document: dict[str, Any],
    operations: Sequence[Operation],
    resource_type: ResourceType,
    profile: Profile,
    *,
    resource_id: str | None = None,
) -> Patched:
    """Run the operations in order; all or, by an error, none. `resource_id` may be repeated by the client.

    Raises InvalidValue, Mutability or NoTarget, naming the operation, the path and the rule.
    """
    draft = _Draft(document, resource_type, Reading(profile), resource_id)
    for operation in operations:
        try:
            draft.run(operation)
        except ScimError as problem:
            raise _located(problem, operation.index, f" ({operation.verb} {operation.text})") from None
    return draft.patched(document)


# --- body -> operations ---


def _operations(index: int, message: Any, resource_type: ResourceType, profile: Profile) -> Iterator[Operation]:
    if type(message) is not dict:
        raise InvalidSyntax("an operation must be an object with op, path and value.")
    op, path, value = message.get("op"), message.get("path"), message.get("value")
    verb = _VERBS.get(op.lower()) if type(op) is str else None
    if verb is None:
        raise InvalidSyntax("op must be add, remove or replace.")
    if path is not None and type(path) is not str:
        raise InvalidSyntax("path must be a string.")
    if verb == "remove" and not path:
        raise NoTarget("remove needs a path: name the attribute to remove.")
    if verb != "remove" and "value" not in message:
        raise InvalidValue(f"{verb} needs a value.")
    if not path:
        yield from _keyed(index, verb, value, resource_type, profile)
        return
    target = parse_path(path, resource_type, profile)
    if isinstance(target, SchemaPath) and verb != "remove" and value is not None:
        yield from _keyed(index, verb, value, resource_type, profile, f"{target.schema.id}:")
    else:
        yield Operation(index, verb, path, target, value)


def _keyed(
    index: int, verb: Verb, value: Any, resource_type: ResourceType, profile: Profile, container: str = ""
) -> Iterator[Operation]:
    """One operation for each key of a pathless value; `container` is "" or a schema's URN with a colon."""
    if type(value) is not dict:
        where = f"at the path {container[:-1]}" if container else "without a path"
        raise InvalidValue(f"{where} the value must be an object of attributes.")
    for key, item in value.items():
        if container and key.lower() == "schemas":
            continue  # some models say it in an extension too, where it means nothing
        target: Target
        attribute = None if container else resource_type.attribute(key)
        if attribute is not None:
            target = Path(AttributeRef(None, attribute))
        else:
            found = _key_target(f"{container}{key}", resource_type, profile)
            if isinstance(found, SchemaPath) and type(item) is dict and not container:
                yield from _keyed(index, verb, item, resource_type, profile, f"{found.schema.id}:")
                continue
            target = found
        as_path = attribute is None and not container
        yield Operation(index, verb, f"{container}{key}", target, item, keyed=True, as_path=as_path)


def _key_target(text: str, resource_type: ResourceType, profile: Profile) -> Target:
    """Unlike in a path, an unknown name in a value is no error by itself (only the strict profile refuses it)."""
    try:
        return parse_path(text, resource_type, profile)
    except InvalidPath:
        if "[" in text or profile.refuse_unknown_attributes:
            raise
        return UnknownExtension(text)


def _located(problem: ScimError, index: int, what: str = "") -> ScimError:
    return type(problem)(f"Operation {index + 1}{what}: {problem.detail}", problem.headers)


# --- operations -> document ---


class _Draft:
    """The document and the other results while operations run."""

    def __init__(
        self, document: dict[str, Any], resource_type: ResourceType, reading: Reading, resource_id: str | None
    ) -> None:
        self.document = document
        self.resource_type = resource_type
        self.reading = reading
        self.resource_id = resource_id
        self.members = MemberDraft()
        self.active: bool | None = None
        self.password: str | None = None

    def run(self, operation: Operation) -> None:
        target = operation.target
        if isinstance(target, UnknownExtension):
            self.reading.unknown(operation.text)
        elif isinstance(target, SchemaPath):
            self._clear_extension(operation, target)
        elif _is_read_only(target.ref):
            self._guard_read_only(operation, target.ref)
        elif target.ref.attribute.name == "schemas":
            # Computed from what the document holds; saying otherwise changes nothing.
            if operation.verb == "remove":
                raise Mutability("schemas cannot be removed.")
        elif target.ref.attribute is MEMBERS:
            self.members.edit(operation.verb, target, operation.value, self.reading)
        elif target.ref.attribute is PASSWORD:
            self._set_password(operation)
        else:
            self._edit(operation, target)

    def patched(self, original: dict[str, Any]) -> Patched:
        document = self.document
        if document == original:
            document = original
        elif (schemas := schemas_of(document, self.resource_type)) != document.get("schemas"):
            demand_required(document, self.resource_type)
            document = {**document, "schemas": schemas}
        return Patched(
            document,
            self.members.edits(),
            self.active,
            self.password,
            self.reading.ignored,
            self.reading.quirks,
        )

    def _edit(self, operation: Operation, path: Path) -> None:
        urn, attribute = path.ref.extension, path.ref.attribute
        prefix = f"{urn}:" if urn else ""
        if operation.as_path:
            self.reading.bent("path-keys")
        holder = self.document if urn is None else self.document.get(urn, {})
        before = holder.get(attribute.name)
        after = Edit(operation.verb, path, operation.value, prefix, self.reading).of(before)
        _guard(attribute, before, after, prefix, operation.verb)
        if urn is None and attribute.name == "active" and after is not None:
            self.active = after
        if after is None and before is None:
            return
        if urn is None:
            self.document = _with(self.document, attribute.name, after)
        else:
            self.document = _with(self.document, urn, _with(holder, attribute.name, after) or None)

    def _clear_extension(self, operation: Operation, path: SchemaPath) -> None:
        """An extension removed, or replaced with null, loses its attributes one by one."""
        if path.schema is self.resource_type.schema:
            raise Mutability("a resource cannot lose its core schema: DELETE it instead.")
        if operation.verb != "remove" and operation.value is not None:
            raise InvalidValue(f"{path.schema.id} must be an object.")
        if operation.verb != "add":
            for attribute in path.schema.attributes:
                if attribute.name in self.document.get(path.schema.id, {}):
                    target = Path(AttributeRef(path.schema.id, attribute))
                    self._edit(Operation(operation.index, "remove", operation.text, target), target)

    def _guard_read_only(self, operation: Operation, ref: AttributeRef) -> None:
        """Clients echo what they read: inside values that is ignored, but no other id is taken for this one."""
        is_id = ref.attribute.name == "id"
        if is_id and operation.verb != "remove" and operation.value == self.resource_id is not None:
            return
        if not operation.keyed or (is_id and operation.value is not None):
            raise Mutability(f"{ref.leaf.name} is read-only: leave it out.")

    def _set_password(self, operation: Operation) -> None:
        """It leaves on its own and is never part of the document."""
        removed = operation.verb == "remove"
        self.password = "" if removed else read(PASSWORD, operation.value, "", self.reading) or ""


def _is_read_only(ref: AttributeRef) -> bool:
    return ref.attribute.mutability == "readOnly" or ref.leaf.mutability == "readOnly"


def _guard(attribute: Attribute, before: Any, after: Any, prefix: str, verb: Verb) -> None:
    if after is None and attribute.required and before is not None:
        if verb == "remove":
            raise Mutability(f"{prefix}{attribute.name} is required and cannot be removed.")
        raise missing(attribute, prefix)
    if attribute.mutability == "immutable" and before is not None and after != before:
        raise Mutability(f"{prefix}{attribute.name} cannot be changed once it is set.")


def _with(holder: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A copy of `holder` in which `name` has this value, or is absent for None."""
    if value is None:
        return {key: held for key, held in holder.items() if key != name}
    return {**holder, name: value}
