"""Background tasks end when they are told to, whatever swallows the first word."""

import asyncio

from scim_server.tasks import stop


async def test_a_task_that_misses_the_first_cancellation_ends_all_the_same() -> None:
    missed = 0

    async def deaf() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                missed += 1
                if missed == 2:
                    raise

    async def broken() -> None:
        raise ValueError

    tasks = [asyncio.create_task(each) for each in (deaf(), broken())]
    await asyncio.sleep(0)
    await stop(tasks)
    assert missed == 2
    assert all(task.done() for task in tasks)


async def test_no_tasks_are_no_wait() -> None:
    await stop([])
