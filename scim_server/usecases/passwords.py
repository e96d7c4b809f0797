"""The `password` attribute (RFC 7643 §4.1.1): forgotten by default, kept as an Argon2id hash where a tenant says so.

Hashing costs a core tens of milliseconds and 19 MiB, so it runs in two threads with a short queue: a flood of
passwords must not stall the rest of the service. Nothing here is ever returned, logged or put into an event.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from passlib.context import CryptContext

from scim_server.protocol.errors import TooManyRequests
from scim_server.usecases.options import TenantOptions

THREADS = 2
WAITING = 64
# Argon2id with 19 MiB, two passes, one lane: the least that OWASP's password storage cheat sheet asks for.
_CONTEXT = CryptContext(
    schemes=["argon2"], argon2__type="ID", argon2__memory_cost=19_456, argon2__time_cost=2, argon2__parallelism=1
)


class Passwords:
    """Hashes and verifies off the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The Argon2id hash in PHC form. Raises TooManyRequests when too many wait."""
        return str(await self._run(_CONTEXT.hash, password))

    async def matches(self, password: str, known: str) -> bool:
        """Whether a hash is of this password. Raises TooManyRequests when too many wait."""
        return bool(await self._run(_CONTEXT.verify, password, known))

    async def _run(self, work: Callable[..., Any], *arguments: str) -> Any:
        if self._waiting >= WAITING:
            raise TooManyRequests("Too many passwords are being set at once; repeat the request.", {"Retry-After": "2"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._waiting -= 1


async def credential_of(
    passwords: Passwords, options: TenantOptions, password: str | None, known: str | None
) -> str | None:
    """What a Change stores: a new hash, "" to forget the old one, None to leave things as they are, which is also what
    sending the same password again does."""
    if password is None or options.passwords != "hash":
        return None
    if password == "":
        return "" if known is not None else None
    if known is not None and await passwords.matches(password, known):
        return None
    return await passwords.hash(password)
