"""Who is calling: bearer tokens, the tenants they belong to, and what each scope may do.

A token is `scim_<id>_<secret>`, 256 random bits, found by the SHA-256 of its text; its tenant is decided here and
nowhere else. Answers are cached for a second, so a revocation is felt everywhere within one.
"""

import hashlib
import secrets
from dataclasses import replace
from typing import Final, NamedTuple

from scim_server.protocol.attributes import ResourceType
from scim_server.protocol.errors import Forbidden, TooManyRequests, Unauthorized
from scim_server.protocol.schema_json import DeclarationError
from scim_server.storage import access
from scim_server.storage.access import TenantRow, TokenRow
from scim_server.storage.change import Audit
from scim_server.storage.database import Database, Taken
from scim_server.usecases.options import TenantOptions, assign
from scim_server.usecases.tenant_types import faults

SCOPES: Final = ("scim", "scim:read", "scim:revoke")
CACHE_MS = 1_000
CACHE_SIZE = 10_000
DAY_MS = 86_400_000
_PREFIX = "scim"


class Caller(NamedTuple):
    """Who makes this request, for which tenant, and the id under which it appears in logs and audit. `override`: a
    person at the command line insists, even where accounts are protected."""

    tenant_id: str
    tenant: str
    options: TenantOptions
    actor: str
    scope: str
    request_id: str
    frozen_until: int | None = None
    expires: int | None = None
    override: bool = False

    def require(self, *scopes: str) -> None:
        """Raise Forbidden unless the token has one of these scopes."""
        if self.scope not in scopes:
            raise Forbidden(f"The token's scope {self.scope!r} does not allow this; use one with {scopes[0]!r}.")

    def require_write(self, now: int) -> None:
        """Raise Forbidden for a reading token and TooManyRequests while the tenant is frozen."""
        self.require("scim")
        if self.frozen_until is not None and now < self.frozen_until:
            seconds = -(-(self.frozen_until - now) // 1000)
            raise TooManyRequests(
                "Provisioning of this tenant is frozen by its operator; the request can be repeated later.",
                {"Retry-After": str(seconds)},
            )


class Authenticator:
    """Finds the caller of a bearer token; remembers for a second what it found."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[int, TokenRow, Caller]] = {}

    async def caller(self, token: str, request_id: str, now: int) -> Caller:
        """Raise Unauthorized for an unknown, revoked or expired token: the three look alike from outside."""
        found = self._known.get(token)
        if found is None or now - found[0] >= CACHE_MS:
            found = await self._look_up(token, now)
        _, row, caller = found
        if row.expires is not None and row.expires <= now:
            raise Unauthorized("The bearer token has expired; issue a new one.")
        return caller._replace(request_id=request_id)

    async def _look_up(self, token: str, now: int) -> tuple[int, TokenRow, Caller]:
        known = await access.token_by_hash(self._database, digest(token))
        if known is None or known[0].revoked is not None:
            self._known.pop(token, None)
            raise Unauthorized("The bearer token is unknown or revoked; issue a new one.")
        row, tenant = known
        caller = Caller(
            tenant_id=tenant.id,
            tenant=tenant.name,
            options=TenantOptions.read(tenant.options),
            actor=f"token:{row.id}",
            scope=row.scope,
            request_id="",
            frozen_until=tenant.frozen_until,
            expires=row.expires,
        )
        if row.last_used is None or now - row.last_used >= access.LAST_USED_GRAIN_MS:
            await access.touch_token(self._database, row.id, now)
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()
        entry = self._known[token] = (now, row, caller)
        return entry


def digest(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


async def create_tenant(database: Database, name: str, *, actor: str, new_id: str, change_id: str, now: int) -> str:
    """The id of the tenant of this name, made if there is none yet."""
    known = await access.tenant_named(database, name)
    if known is not None:
        return known.id
    row = TenantRow(new_id, name, {}, now, None)
    try:
        await access.create_tenant(database, row, Audit(actor, "tenant.create", change_id, {"name": name}), change_id)
    except Taken:  # by another process, a moment ago
        return await create_tenant(database, name, actor=actor, new_id=new_id, change_id=change_id, now=now)
    return new_id


async def set_options(
    database: Database,
    tenant: TenantRow,
    assignments: list[str],
    types: tuple[ResourceType, ...],
    *,
    actor: str,
    change_id: str,
    now: int,
) -> TenantRow:
    """Apply `key=value` texts to a tenant of a deployment with these resource types. Raises OptionError, or
    DeclarationError with every fault of its schemas, before anything is stored."""
    stored = dict(tenant.options)
    for assignment in assignments:
        stored = assign(stored, assignment)
    if problems := faults(types, TenantOptions.read(stored)):
        raise DeclarationError(problems)
    changed = replace(tenant, options=stored)
    note = Audit(actor, "tenant.set", change_id, {"options": sorted(a.partition("=")[0] for a in assignments)})
    await access.set_tenant(database, changed, note, change_id, now)
    return changed


async def freeze(
    database: Database, tenant: TenantRow, until: int | None, *, actor: str, change_id: str, now: int
) -> None:
    """Answer writes of a tenant with 429 until then (unix ms); None thaws."""
    action = "tenant.thaw" if until is None else "tenant.freeze"
    note = Audit(actor, action, change_id, {} if until is None else {"until": until})
    await access.set_tenant(database, replace(tenant, frozen_until=until), note, change_id, now)


async def issue_token(
    database: Database,
    tenant: TenantRow,
    name: str,
    scope: str,
    *,
    expires: int | None,
    actor: str,
    change_id: str,
    now: int,
    text: str | None = None,
) -> str:
    """A new token's text, said this once only; the others of the tenant stay valid. `text` is for a bootstrap token
    that the operator chose; issuing the same one again changes nothing."""
    token_id = secrets.token_hex(6)
    text = text or f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"
    row = TokenRow(token_id, tenant.id, name, scope, now, expires, None, None)
    note = Audit(actor, "token.issue", change_id, {"token": token_id, "name": name, "scope": scope})
    try:
        await access.create_token(database, row, digest(text), note, change_id)
    except Taken:
        pass
    return text


async def revoke_token(database: Database, row: TokenRow, *, actor: str, change_id: str, now: int) -> None:
    """Make a token worthless within a second, everywhere."""
    note = Audit(actor, "token.revoke", change_id, {"token": row.id, "name": row.name})
    await access.revoke_token(database, row, note, change_id, now)


def days_left(row: TokenRow, now: int) -> int | None:
    """Whole days until a token expires; None when it never does or is revoked."""
    if row.expires is None or row.revoked is not None:
        return None
    return (row.expires - now) // DAY_MS
