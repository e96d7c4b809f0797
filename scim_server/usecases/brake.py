"""The mass brake: many people who lose access within minutes are more likely a mistake than a layoff.

Above max(20, 10 %) of the active users in 10 minutes it alerts. Where the tenant has `brake_hold`, kills beyond that
share are held for a person: the users are stored as inactive, their sessions go on until somebody approves, and
nothing has happened to them if somebody rejects.
"""

import logging
from dataclasses import replace

from scim_server import metrics
from scim_server.storage import deactivations
from scim_server.usecases.access import Caller
from scim_server.usecases.change import Said
from scim_server.usecases.deployment import Deployment

WINDOW_MS = 600_000
FLOOR = 20
ALERT_SHARE = 10
_log = logging.getLogger(__name__)


async def examine(deployment: Deployment, caller: Caller, said: Said) -> Said:
    """Alert, and hold the kills of a change that goes beyond the tenant's share."""
    losing = len(said.losses)
    since = deployment.now() - WINDOW_MS
    recent = await deactivations.count_since(deployment.database, caller.tenant_id, since, FLOOR + 1) + losing
    if recent <= FLOOR:
        return said
    everyone = await deactivations.count_active(deployment.database, caller.tenant_id)
    recent = await deactivations.count_since(deployment.database, caller.tenant_id, since, everyone + FLOOR) + losing
    base = everyone + recent - losing
    if recent > _limit(base, ALERT_SHARE):
        metrics.brake_alerts.labels(caller.tenant).inc()
        _log.warning(
            "%d of %d users of tenant %s lost access within 10 minutes: if this is a mistake, freeze the tenant and "
            "see scim-server deactivations undo",
            recent,
            base,
            caller.tenant,
        )
    if not caller.options.brake_hold or recent <= _limit(base, caller.options.brake_hold):
        return said
    _log.warning(
        "kills of tenant %s are held, these people's sessions go on: scim-server brake list, approve or reject "
        "--tenant %s",
        caller.tenant,
        caller.tenant,
    )
    kept = tuple(replace(m, held=True) if m.action == "terminate" else m for m in said.messages)
    return replace(said, messages=kept)


def _limit(base: int, share: int) -> float:
    return max(FLOOR, base * share / 100)
