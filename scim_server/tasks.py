"""How background tasks are ended. Knows nothing of what they do."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 1.0


async def stop(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Return when all have ended, however; each is cancelled until it does.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which the Redis client sends with, drops a cancellation that
    meets the end of what it waits for.
    """
    ending = set(tasks)
    running = ending
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_S)
    await asyncio.gather(*ending, return_exceptions=True)
