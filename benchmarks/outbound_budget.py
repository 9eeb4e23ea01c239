"""Measures the outbound budget: what a fleet gets out of Plaid's limits, how often it is refused, what it costs.

Several worker processes spend through the budget against a server that enforces the limits by a fixed and by a
sliding window at once, and count how many calls each of the two would refuse. Run from the repository:

    python -m benchmarks.outbound_budget --limit 600 --seconds 60 --processes 4

The budget is used up when `used` is close to 100 % in every minute; `refused` is the share of answers 429.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.asyncio import Redis

from core.errors import RetryLaterError
from core.plaid.limits import Budget, Limits, Priority, Scope
from devstack.servers import open_servers

OVERHEAD_CALLS = 20_000
CALLERS = {Priority.URGENT: 2, Priority.SCHEDULED: 8, Priority.BACKFILL: 22}
LATENCY_SECONDS = (0.02, 0.2)
# Webhooks come one by one; schedule and backfill always want more.
WEBHOOK_PAUSE_SECONDS = (0.5, 3.5)


@dataclass(slots=True)
class Window:
    """Plaid's limit by one algorithm: a call that it refuses does not count."""

    limit: int
    seconds: float
    sliding: bool
    allowed: deque[float] = field(default_factory=deque)

    def allows(self, now: float) -> bool:
        """Count the call and say whether it passes."""
        edge = now - self.seconds if self.sliding else now - now % self.seconds
        while self.allowed and self.allowed[0] < edge:
            self.allowed.popleft()
        if len(self.allowed) >= self.limit:
            return False
        self.allowed.append(now)
        return True


class Server:
    """A Plaid that only counts: one line in, one line out, after a random time on the way there and back."""

    def __init__(self, limits: Limits, *, sliding: bool) -> None:
        self._limits = limits
        self._sliding = sliding
        self._client = self._window(limits.per_client)
        self._items: dict[str, Window] = {}
        self.arrivals: list[float] = []
        self.refused: Counter[str] = Counter()

    def _window(self, limit: int) -> Window:
        return Window(limit, self._limits.window_seconds, self._sliding)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection's calls in order."""
        # A worker that ends with calls under way resets its connections.
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                await asyncio.sleep(random.uniform(*LATENCY_SECONDS) / 2)
                writer.write(self._judge(line.decode().strip()).encode() + b"\n")
        writer.close()

    def _judge(self, item_key: str) -> str:
        now = time.monotonic()
        item = self._items.setdefault(item_key, self._window(self._limits.per_item))
        scope = "" if self._client.allows(now) else "client"
        scope = scope or ("" if item.allows(now) else "item")
        if scope:
            self.refused[scope] += 1
        else:
            self.arrivals.append(now)
        return scope or "ok"


@dataclass(slots=True)
class Load:
    """What the callers of one process share; `found` has priority and seconds waited, None if turned away."""

    budget: Budget
    port: int
    items: list[str]
    end: float
    found: list[tuple[int, float | None]] = field(default_factory=list)

    async def call(self, priority: Priority) -> None:
        """Spend and call, again and again."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.monotonic() < self.end:
            if priority is Priority.URGENT:
                await asyncio.sleep(random.uniform(*WEBHOOK_PAUSE_SECONDS))
            item_key = random.choice(self.items)
            asked_at = time.monotonic()
            try:
                await self.budget.spend(item_key, priority)
            except RetryLaterError:
                self.found.append((int(priority), None))
                continue
            self.found.append((int(priority), time.monotonic() - asked_at))
            writer.write(item_key.encode() + b"\n")
            if await reader.readline() != b"ok\n":
                await self.budget.refused(item_key, Scope.UNKNOWN)
        writer.close()


def worker(redis_url: str, port: int, limits: Limits, seconds: float, start: tuple[Any, Any]) -> None:
    """Run one worker process, 32 callers that want more than there is, as soon as all processes are there."""
    barrier, pipe = start
    barrier.wait()

    async def run() -> None:
        async with Redis.from_url(redis_url) as redis:
            items = [f"item-{number}" for number in range(limits.per_client)]
            load = Load(Budget(redis, limits), port, items, time.monotonic() + seconds)
            callers = [load.call(priority) for priority, count in CALLERS.items() for _ in range(count)]
            done, pending = await asyncio.wait(map(asyncio.ensure_future, callers), timeout=seconds)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await load.budget.close()
            pipe.send((load.found, sum(task.exception() is not None for task in done)))

    asyncio.run(run())


async def fleet(redis_url: str, limits: Limits, arguments: argparse.Namespace, *, sliding: bool) -> dict[str, Any]:
    """Run the worker processes against one server and return the figures."""
    server = Server(limits, sliding=sliding)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe(duplex=False) for _ in range(arguments.processes)]
    given = (redis_url, port, limits, arguments.seconds)
    barrier = context.Barrier(arguments.processes)
    processes = [context.Process(target=worker, args=(*given, (barrier, sender))) for _, sender in ends]
    for process in processes:
        process.start()
    results = await asyncio.gather(*(asyncio.to_thread(receiver.recv) for receiver, _ in ends))
    for process in processes:
        await asyncio.to_thread(process.join)
    listener.close()
    return _figures(server, results, limits, "sliding" if sliding else "fixed")


def _figures(server: Server, results: list[Any], limits: Limits, enforcement: str) -> dict[str, Any]:
    window = limits.window_seconds
    first, last = server.arrivals[0], server.arrivals[-1]
    calls, refused = len(server.arrivals), server.refused.total()
    possible = limits.per_client * max(1.0, (last - first) / window)
    found = [one for result, _ in results for one in result]
    waits = {
        priority.name.lower(): sorted(w for p, w in found if p == priority and w is not None) for priority in Priority
    }
    return {
        "enforcement": enforcement,
        "seconds": round(last - first, 1),
        "used_percent": round(100 * calls / possible, 2),
        "refused_percent": round(100 * refused / max(1, calls + refused), 3),
        "refused": dict(server.refused),
        "errors": sum(errors for _, errors in results),
        "postponed": sum(1 for _, wait in found if wait is None),
        "calls": {name: len(waited) for name, waited in waits.items()},
        "wait_p50_ms": {name: round(1000 * statistics.median(waited or [0])) for name, waited in waits.items()},
        "wait_p95_ms": {name: round(1000 * (waited or [0])[int(len(waited) * 0.95)]) for name, waited in waits.items()},
        "calls_a_process": [sum(1 for _, wait in result if wait is not None) for result, _ in results],
    }


async def overhead(redis_url: str) -> dict[str, float]:
    """Return the CPU of this process for a call when there is plenty, in microseconds; a PING is the measure."""
    figures = {}
    async with Redis.from_url(redis_url) as redis:
        figures["a bare PING"] = await _cpu_of(1, 1, lambda _: redis.ping())
        for name, lanes, pages in (("one at a time", 1, 1), ("64 at once", 64, 1), ("64 at once, 4 pages", 64, 4)):
            await redis.flushdb()
            budget = Budget(redis, Limits(50, 100_000_000))
            figures[name] = await _cpu_of(lanes, pages, partial(budget.spend, priority=Priority.SCHEDULED))
    return figures


async def _cpu_of(lanes: int, pages: int, call: Callable[[str], Awaitable[Any]]) -> float:
    async def lane(first: int) -> None:
        for number in range(first, OVERHEAD_CALLS // pages, lanes):
            for _ in range(pages):
                await call(f"item-{number}")

    started = time.process_time()
    await asyncio.gather(*(lane(first) for first in range(lanes)))
    return round((time.process_time() - started) / OVERHEAD_CALLS * 1e6, 1)


async def measure(redis_url: str, arguments: argparse.Namespace) -> None:
    """Print every figure as a line of JSON."""
    print(json.dumps({"cpu_us_a_call": await overhead(redis_url)}), flush=True)
    limits = Limits(arguments.item_limit, arguments.limit, arguments.window)
    for sliding in (False, True):
        async with Redis.from_url(redis_url) as redis:
            await redis.flushdb()
        print(json.dumps(await fleet(redis_url, limits, arguments, sliding=sliding)), flush=True)


def main() -> int:
    """Run both enforcements on a real server of our own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=600, help="calls a window for the client (600)")
    parser.add_argument("--item-limit", type=int, default=50, help="calls a window for an Item (50)")
    parser.add_argument("--window", type=float, default=60.0, help="the window in seconds, Plaid's is 60")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each enforcement is measured (60)")
    parser.add_argument("--processes", type=int, default=4, help="worker processes (4)")
    arguments = parser.parse_args()
    with open_servers(durable=False) as servers:
        asyncio.run(measure(servers.redis_url, arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
