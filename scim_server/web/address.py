"""One address with all its methods, so that a 405 names them and openapi.json can list them; finding it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Address(Route):
    """A route that knows its endpoints by method; HEAD is answered as GET."""

    def __init__(self, path: str, by_method: Mapping[str, Endpoint]) -> None:
        self.by_method = by_method
        super().__init__(path, self._answer, methods=list(by_method))

    async def _answer(self, request: Request) -> Response:
        return await self.by_method["GET" if request.method == "HEAD" else request.method](request)


class Index(BaseRoute):
    """Stands before routes whose path is fixed or ends with `{id}` and finds theirs by the path itself: one regular
    expression after the other costs as much as reading from the database."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed = {route.path: route for route in routes if not route.path.endswith("/{id}")}
        self._below = {route.path.removesuffix("/{id}"): route for route in routes if route.path.endswith("/{id}")}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette asks: whether one of the routes is meant, and what to add to the scope then."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path, given = scope["path"], dict[str, Any]()
        route = self._fixed.get(path)
        if route is None:
            parent, _, last = path.rpartition("/")
            route, given = self._below.get(parent) if last else None, {"id": last}
        if route is None:
            return Match.NONE, {}
        return Match.FULL, {"route": route, "endpoint": route.endpoint, "path_params": given}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette asks: answer what `matches` accepted."""
        await scope["route"].handle(scope, receive, send)
