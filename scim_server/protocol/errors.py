"""Every way a SCIM request can fail, as one tree (RFC 7644 §3.12, RFC 9865 §5).

`detail` is one sentence for the person who reads the identity provider's log: what was wrong, where, and what
to do. It never carries SQL, file paths, versions or stack traces. `web/reply.py` alone turns these into HTTP.

    ScimError
    ├── 400 InvalidFilter · TooMany · InvalidSyntax · InvalidPath · NoTarget · InvalidValue · InvalidVersion
    │       Mutability · Sensitive · InvalidCursor · ExpiredCursor · InvalidCount
    ├── 401 Unauthorized   403 Forbidden   404 NotFound   405 MethodNotAllowed
    ├── 409 Uniqueness · Conflict   412 PreconditionFailed   413 TooLarge   415 UnsupportedMediaType
    └── 429 TooManyRequests   501 NotImplementedHere   503 Unavailable
"""

from collections.abc import Mapping
from typing import ClassVar


class ScimError(Exception):
    """Base of all expected failures. `headers` are extra HTTP headers such as Retry-After or Allow."""

    status: ClassVar[int] = 400
    scim_type: ClassVar[str | None] = None

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers: Mapping[str, str] = headers or {}


class InvalidFilter(ScimError):
    """The filter is malformed, or names an attribute or comparison that is not supported."""

    scim_type = "invalidFilter"


class TooMany(ScimError):
    """The answer would be larger, or cost more, than the server gives to one request."""

    scim_type = "tooMany"


class InvalidSyntax(ScimError):
    """The body is not what the operation's message schema allows."""

    scim_type = "invalidSyntax"


class InvalidPath(ScimError):
    """The path of a PATCH operation is malformed or names an unknown attribute."""

    scim_type = "invalidPath"


class NoTarget(ScimError):
    """The path of a PATCH operation matched nothing where it had to match something."""

    scim_type = "noTarget"


class InvalidValue(ScimError):
    """A value is missing, of the wrong type, or refers to something that does not exist."""

    scim_type = "invalidValue"


class InvalidVersion(ScimError):
    """The request names a SCIM protocol version other than 2.0."""

    scim_type = "invalidVers"


class Mutability(ScimError):
    """The request changes an attribute that clients may not change."""

    scim_type = "mutability"


class Sensitive(ScimError):
    """The request would put personal data in a URL where that is not allowed."""

    scim_type = "sensitive"
    status = 403


class InvalidCursor(ScimError):
    """The cursor was not made by this server for this query (RFC 9865)."""

    scim_type = "invalidCursor"


class ExpiredCursor(ScimError):
    """The cursor is too old (RFC 9865)."""

    scim_type = "expiredCursor"


class InvalidCount(ScimError):
    """The count differs from the one the cursor was made for (RFC 9865)."""

    scim_type = "invalidCount"


class Unauthorized(ScimError):
    """No valid bearer token."""

    status = 401


class Forbidden(ScimError):
    """The token is valid but may not do this."""

    status = 403


class NotFound(ScimError):
    """Unknown, foreign and malformed ids are all answered with this, word for word the same."""

    status = 404


class MethodNotAllowed(ScimError):
    """The address exists, the method does not."""

    status = 405


class Uniqueness(ScimError):
    """Another resource of the tenant already has this value."""

    status = 409
    scim_type = "uniqueness"


class Conflict(ScimError):
    """The state of the resource or the tenant's policy forbids the change."""

    status = 409


class PreconditionFailed(ScimError):
    """If-Match names a version that is not the current one."""

    status = 412


class TooLarge(ScimError):
    """The body exceeds a limit that ServiceProviderConfig announces."""

    status = 413


class UnsupportedMediaType(ScimError):
    """The body is not application/scim+json or application/json in UTF-8."""

    status = 415


class TooManyRequests(ScimError):
    """The tenant is frozen or sends too fast; Retry-After says when to come back."""

    status = 429


class NotImplementedHere(ScimError):
    """A part of SCIM that this server does not offer."""

    status = 501


class Unavailable(ScimError):
    """The database cannot be reached or the server is saturated; the request can be repeated as it is."""

    status = 503
