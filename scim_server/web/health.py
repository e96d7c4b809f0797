"""Health and metrics: what an orchestrator, a dashboard and a person on call look at. No token, no personal data."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from scim_server import metrics
from scim_server.web.site import site_of

_NO_STORE = {"Cache-Control": "no-store"}


async def live(_: Request) -> Response:
    """GET /livez: the process answers."""
    return _json({"status": "ok"})


async def ready(request: Request) -> Response:
    """GET /readyz: 200 "ok" or "degraded" (a session store is away: kills wait, provisioning goes on), 503 "down" when
    the database is away."""
    found = await site_of(request).health()
    down = any(not one.ok and one.needed for one in found)
    degraded = any(not one.ok for one in found)
    status = "down" if down else "degraded" if degraded else "ok"
    dependencies = [
        {"name": one.name, "status": "ok" if one.ok else "down", **({"detail": one.detail} if one.detail else {})}
        for one in found
    ]
    return _json({"status": status, "dependencies": dependencies}, 503 if down else 200)


async def prometheus(_: Request) -> Response:
    """GET /metrics"""
    return Response(metrics.render(), headers={**_NO_STORE, "Content-Type": metrics.CONTENT_TYPE})


def _json(content: dict[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, _NO_STORE, "application/json")
