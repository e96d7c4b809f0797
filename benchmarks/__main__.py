"""`python -m benchmarks`: starts its own Postgres, Redis and servers, measures, prints the tables of README.md."""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.loopback import stay_on_loopback
from services.postgres import PostgresServer
from services.processes import free_port
from services.redis import RedisServer

from benchmarks import kills, ratios
from benchmarks.load import Cost
from benchmarks.ratios import Source, Target
from benchmarks.servers import Server, ceiling, product

NAMES: dict[str, Source] = {
    "GET a user": ratios.get,
    "filter userName eq": ratios.by_name,
    "page of 100": ratios.page,
    "PATCH a title": ratios.patch,
    "POST a user": ratios.post,
}


def main() -> None:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=["ratios", "growth", "kills", []], help="all of them by default")
    parser.add_argument("--users", type=int, default=100_000, help="of the large tenant")
    parser.add_argument("--members", type=int, default=100_000, help="of the large group")
    parser.add_argument("--sessions", type=int, default=1_000_000, help="of other people in Redis")
    parser.add_argument("--kills", type=int, default=300, help="users to deactivate of each kind")
    parser.add_argument("--backlog", type=int, default=5_000, help="users deactivated while the store is frozen")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    what = given.what or ["ratios", "growth", "kills"]
    stay_on_loopback()
    with ExitStack() as stack:
        postgres = PostgresServer.launch()
        stack.callback(postgres.discard)
        if "ratios" in what:
            measure_ratios(postgres, given)
        if "growth" in what:
            measure_growth(postgres, given)
        if "kills" in what:
            measure_kills(postgres, given)


def measure_ratios(postgres: PostgresServer, given: argparse.Namespace) -> None:
    """Product and ceiling by turns."""
    sizes = (10, given.members)
    sources = {**NAMES, **{f"a member in, out of {size:,}": ratios.member(size) for size in sizes}}
    with _both(postgres, given.users, sizes) as (bare, ours):
        rows = []
        for name, source in sources.items():
            low, high = asyncio.run(ratios.compare(bare, ours, source, seconds=given.seconds, rounds=given.rounds))
            rows.append((name, *_figures(low), *_figures(high), f"{low.cpu_us / high.cpu_us:.2f}"))
        _table(("request", "ceiling µs", "req/s", "p99 ms", "product µs", "req/s", "p99 ms", "ratio"), rows)
        print(f"Resident memory: product {ours.server.rss_mb():.0f} MB, ceiling {bare.server.rss_mb():.0f} MB\n")


def measure_growth(postgres: PostgresServer, given: argparse.Namespace) -> None:
    """The product with few users beside the product with many."""
    with ExitStack() as stack:
        few, many = (stack.enter_context(_one(postgres, users)) for users in (1_000, given.users))
        rows = []
        for name, source in NAMES.items():
            low, high = asyncio.run(ratios.compare(few, many, source, seconds=given.seconds, rounds=given.rounds))
            rows.append((name, f"{low.cpu_us:.0f}", f"{high.cpu_us:.0f}", f"{high.cpu_us / low.cpu_us:.2f}"))
    _table(("request", "1,000 users: µs", f"{given.users:,} users: µs", "growth"), rows)


def measure_kills(postgres: PostgresServer, given: argparse.Namespace) -> None:
    """Sessions in an own Redis, a webhook on an own port."""
    redis, port = RedisServer.launch(), free_port()
    with ExitStack() as stack:
        stack.callback(redis.discard)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = postgres.create_database()
        with product(url, folder, kills.redis_store(redis.url)) as server:
            rows = []
            for sessions in (1, 10, 100):
                gone, asked = asyncio.run(
                    kills.inline(server, redis.url, sessions=sessions, others=given.sessions, kills=given.kills)
                )
                rows.append((f"{sessions} of {given.sessions:,}", *_times(gone), *_times(asked)))
            _table(("sessions", "commit to gone p50", "p99 ms", "whole PATCH p50", "p99 ms"), rows)
            first, others, drained = asyncio.run(kills.outage(server, redis, url, kills=given.backlog))
            print(f"Store frozen: the first 10 answers took {max(first):.0f} ms at most, {given.backlog - 10:,} others")
            print(f"p50 {others.p50:.1f}, p99 {others.p99:.1f} ms. Thawed: {drained:,.0f} users drained a second.\n")
        url = postgres.create_database()
        with product(url, folder, kills.webhook_store(port)) as server:
            took = asyncio.run(_by_hook(server, port, given.kills))
            print(f"Through the outbox to a webhook: p50 {took.p50:.1f}, p99 {took.p99:.1f} ms after the change\n")


async def _by_hook(server: Server, port: int, count: int) -> kills.Times:
    async with kills.hook_on(port) as hook:
        return await kills.through_the_outbox(server, hook, kills=count)


@contextmanager
def _one(postgres: PostgresServer, users: int) -> Iterator[Target]:
    url = postgres.create_database()
    with tempfile.TemporaryDirectory() as folder, product(url, Path(folder)) as server:
        yield asyncio.run(ratios.fill(server, url, users, ()))


@contextmanager
def _both(postgres: PostgresServer, users: int, groups: Sequence[int]) -> Iterator[tuple[Target, Target]]:
    ours, bare = postgres.create_database(), postgres.create_database()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        high = stack.enter_context(product(ours, Path(folder)))
        low = stack.enter_context(ceiling(bare, Path(folder)))
        targets = ratios.fill_ceiling(low, bare, users, groups), ratios.fill(high, ours, users, groups)
        yield asyncio.run(targets[0]), asyncio.run(targets[1])


def _figures(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.cpu_us:.0f}", f"{cost.per_second:.0f}", f"{cost.p99_ms:.0f}"


def _times(times: kills.Times) -> tuple[str, str]:
    return f"{times.p50:.1f}", f"{times.p99:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [head, ["---"] * len(head), *rows]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
