"""One address with all its methods, so that a 405 names them and openapi.json can list them; finding it, and answering
what is sent to it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from scim_server.protocol.errors import ScimError
from scim_server.web.reply import scim_error

Endpoint = Callable[[Request], Awaitable[Response]]


class Address(Route):
    """A route that knows its endpoints by method; HEAD is answered as GET."""

    def __init__(self, path: str, by_method: Mapping[str, Endpoint]) -> None:
        self.by_method = by_method
        super().__init__(path, self._answer, methods=list(by_method))

    def endpoint_of(self, method: str) -> Endpoint | None:
        """What answers a method; None for one that is not possible here."""
        return self.by_method.get("GET" if method == "HEAD" else method)

    async def _answer(self, request: Request) -> Response:
        endpoint = self.endpoint_of(request.method)
        assert endpoint is not None  # Starlette has looked
        return await endpoint(request)


class Front:
    """Stands before an application and answers what is sent to its addresses, whose path is fixed or ends with `{id}`,
    by the path itself: Starlette's middleware and one regular expression after the other cost more than reading from
    the database. All else is the application's: other paths, and methods that an address has not."""

    def __init__(self, app: Starlette, addresses: Sequence[Address]) -> None:
        self._app = app
        self._fixed = {each.path: each for each in addresses if not each.path.endswith("/{id}")}
        self._below = {each.path.removesuffix("/{id}"): each for each in addresses if each.path.endswith("/{id}")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address, given = self._find(scope["path"]) if scope["type"] == "http" else (None, {})
        endpoint = None if address is None else address.endpoint_of(scope["method"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope.update(app=self._app, route=address, path_params=given)
        request = Request(scope, receive, send)
        try:
            answer = await endpoint(request)
        except ScimError as problem:
            answer = scim_error(request, problem)
        await answer(scope, receive, send)

    def _find(self, path: str) -> tuple[Address | None, dict[str, str]]:
        address = self._fixed.get(path)
        if address is not None:
            return address, {}
        parent, _, last = path.rpartition("/")
        return (self._below.get(parent), {"id": last}) if last else (None, {})
