"""Recovery accounts of a tenant: SCIM may not deactivate, delete or rename them, so that a mistake in the identity
provider cannot lock everybody out. The command line may, with --override, and the audit says so.
"""

from scim_server.events.model import Snapshot
from scim_server.protocol.errors import Conflict
from scim_server.protocol.fold import fold
from scim_server.usecases.access import Caller


def is_protected(caller: Caller, user: Snapshot) -> bool:
    """Whether the tenant's option names this user by id, externalId or userName."""
    names = caller.options.protected_accounts
    if not names:
        return False
    user_name = fold(user.text("userName") or "")
    return any(name in (user.id, user.text("externalId")) or fold(name) == user_name for name in names)


def refuse_to_harm(caller: Caller, before: Snapshot | None, after: Snapshot | None) -> None:
    """Raise Conflict when a protected account would lose access or the name by which it is protected."""
    if caller.override or before is None or not is_protected(caller, before):
        return
    if after is None or (before.active and not after.active):
        raise Conflict(
            "This is a protected recovery account; it can be cut off only by its operator, with "
            "`scim-server user deactivate --override`, or after it left the tenant's option protected_accounts."
        )
    if not is_protected(caller, after):
        raise Conflict(
            "This is a protected recovery account: its name cannot change while the tenant's option "
            "protected_accounts names it."
        )
