"""What can be set for one tenant (`scim-server tenant set NAME key=value`): each option with its values and meaning.

Stored as JSON in the tenant's row; what is not stored has its default. Docs are generated from OPTIONS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import orjson

from scim_server.protocol.attributes import INTEROP, RFC, Profile


class OptionError(ValueError):
    """The option does not exist or the value is not one of its values; the message says which are."""


@dataclass(frozen=True, slots=True)
class TenantOptions:
    """The options of a tenant, ready to use."""

    profile: str = "interop"
    restore_on_post: bool = False
    group_names: str = "unique"
    group_patch_body: str = "auto"
    unknown_members: str = "refuse"
    passwords: str = "drop"
    access_groups: tuple[str, ...] = ()
    protected_accounts: tuple[str, ...] = ()
    brake_hold: int = 0
    request_log_days: int = 7
    event_values: tuple[str, ...] = ()
    resource_types: tuple[str, ...] = ()
    schemas: str = ""

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "TenantOptions":
        """From the stored JSON; names this release does not know are left alone, for the release that does."""
        known = {field.name for field in fields(cls)}
        # Lists come back from JSON as lists; a frozen value has tuples.
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**{name: value for name, value in values.items() if name in known})

    @property
    def strictness(self) -> Profile:
        """How ambiguous requests are read."""
        return RFC if self.profile == "rfc" else INTEROP

    @property
    def unique_group_names(self) -> bool:
        """Whether a second group of the same displayName is refused with 409."""
        return self.group_names == "unique" and self.profile != "rfc"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `values` for people, `parse` from the command line's text (raises ValueError)."""

    name: str
    values: str
    meaning: str
    parse: Callable[[str], Any]


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return parse


def _list(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _percent(text: str) -> int:
    number = int(text.removesuffix("%"))
    if not 0 <= number <= 100:
        raise ValueError
    return number


def _days(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 365:
        raise ValueError
    return number


def _json(text: str) -> str:
    """JSON as compact text: a value that can be hashed, and be a cache key."""
    return orjson.dumps(orjson.loads(text)).decode()


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


OPTIONS: tuple[Option, ...] = (
    Option(
        "profile",
        "interop | rfc | entra | okta",
        "How ambiguous requests are read and what /Schemas shows; the default suits every identity provider.",
        _one_of("interop", "rfc", "entra", "okta"),
    ),
    Option(
        "restore_on_post",
        "true | false",
        "A POST of a userName that exists but is inactive gives the same user back, active, instead of 409.",
        _boolean,
    ),
    Option(
        "group_names",
        "unique | any",
        "Whether a second group of the same displayName is refused with 409.",
        _one_of("unique", "any"),
    ),
    Option(
        "group_patch_body",
        "auto | always | never",
        "Whether PATCH of a group answers 200 with the group or 204; auto: 200 up to 100 members.",
        _one_of("auto", "always", "never"),
    ),
    Option(
        "unknown_members",
        "refuse | ignore",
        "What happens to a member of a group that does not exist: the request is refused, or the member is left out.",
        _one_of("refuse", "ignore"),
    ),
    Option(
        "passwords",
        "drop | hash",
        "What happens to the password attribute: accepted and forgotten, or kept as an Argon2id hash.",
        _one_of("drop", "hash"),
    ),
    Option(
        "access_groups",
        "displayNames or ids, separated by commas",
        "Membership of one of these groups is what gives access: leaving the last one ends it. Empty: no such rule.",
        _list,
    ),
    Option(
        "protected_accounts",
        "userNames, externalIds or ids, separated by commas",
        "Recovery accounts that SCIM may not deactivate, delete or rename; the command line may, with --override.",
        _list,
    ),
    Option(
        "request_log_days",
        "0 to 365",
        "How long requests that write are kept, masked, for `scim-server request show`. 0: not at all.",
        _days,
    ),
    Option(
        "event_values",
        "names of attributes, separated by commas",
        "Whose old and new values leave with events; of all others an event has the names only.",
        _list,
    ),
    Option(
        "brake_hold",
        "0 to 100 %",
        "When more than this share of the active users lost access within 10 minutes, further kills wait for "
        "`scim-server brake approve`. 0: never.",
        _percent,
    ),
    Option(
        "resource_types",
        "names, separated by commas, or none",
        "Which of the deployment's own resource types this tenant has beside User and Group. Empty: all of them.",
        _list,
    ),
    Option(
        "schemas",
        "JSON, as a rule from a file: `schemas=@FILE`",
        "Extension schemas of the tenant's own (RFC 7643 §7), and the resource types that they extend (§6).",
        _json,
    ),
)
_BY_NAME = {option.name: option for option in OPTIONS}


def assign(stored: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """The stored options with `key=value` applied; `key=` goes back to the default. Raises OptionError."""
    name, equals, text = assignment.partition("=")
    option = _BY_NAME.get(name.strip())
    if option is None or not equals:
        raise OptionError(f"{assignment!r} is not key=value with one of these keys: {', '.join(_BY_NAME)}.")
    if not text.strip():
        return {key: value for key, value in stored.items() if key != option.name}
    try:
        return {**stored, option.name: option.parse(text.strip())}
    except ValueError:
        raise OptionError(f"{option.name} must be one of: {option.values}.") from None
