"""One address with all its methods, so that a 405 names them and openapi.json can list them."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]


class Address(Route):
    """A route that knows its endpoints by method; HEAD is answered as GET."""

    def __init__(self, path: str, by_method: Mapping[str, Endpoint]) -> None:
        self.by_method = by_method
        super().__init__(path, self._answer, methods=list(by_method))

    async def _answer(self, request: Request) -> Response:
        return await self.by_method["GET" if request.method == "HEAD" else request.method](request)
