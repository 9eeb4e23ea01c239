"""Measures the outbound budget: what a fleet gets out of Plaid's limits, how often it is refused, what it costs.

Several worker processes ask the simulator for pages, by the service's own client and through its own budget, and want
more than there is. The simulator enforces the limits and is the judge: one of fixed windows, and beside it, with a
fleet of its own, one of sliding windows. Run from the repository:

    python -m benchmarks.outbound_budget --limit 600 --seconds 100 --processes 4

`used_percent` is what passed of what the limit allowed, `refused_percent` the share of answers 429.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
from redis.asyncio import Redis

from core.errors import RetryLaterError
from core.plaid.budgeted import BudgetedPages
from core.plaid.client import Again, PlaidClient
from core.plaid.limits import Budget, Limits, Priority
from core.settings import load_settings
from devstack.servers import Servers, open_servers

SYNC = "/transactions/sync"
PUBLISHED_PER_CLIENT = 2500
WINDOWS = ("fixed", "sliding")
OVERHEAD_CALLS = 20_000
CALLERS = {Priority.URGENT: 6, Priority.SCHEDULED: 8, Priority.BACKFILL: 20}
# Of each process's urgent callers these replay one and the same Item without a pause: it wants more than its limit.
ON_ONE_ITEM = 4
LATENCY = {"ms": 20, "jitter_ms": 180}
# Webhooks come one by one; schedule and backfill always want more.
WEBHOOK_PAUSE_SECONDS = (0.5, 3.5)
READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Aim:
    """Whom a worker process asks, with what, and how long."""

    redis_url: str = field(repr=False)
    plaid_url: str
    tokens: tuple[str, ...] = field(repr=False)
    limits: Limits
    seconds: float


@dataclass(slots=True)
class Load:
    """What the callers of one process share; `found` has priority and seconds waited, None if turned away."""

    aim: Aim
    plaid: PlaidClient
    budget: Budget
    end: float
    found: list[tuple[int, float | None]] = field(default_factory=list)

    async def call(self, priority: Priority, place: int) -> None:
        """Ask for pages, again and again."""
        is_on_one = priority is Priority.URGENT and place < ON_ONE_ITEM
        while time.monotonic() < self.end:
            if priority is Priority.URGENT and not is_on_one:
                await asyncio.sleep(random.uniform(*WEBHOOK_PAUSE_SECONDS))
            token = self.aim.tokens[0] if is_on_one else random.choice(self.aim.tokens)
            # What was on the way when the time ended is counted by the simulator, and by nobody here.
            await self._page(priority, token, is_on_one=is_on_one)

    async def _page(self, priority: Priority, token: str, *, is_on_one: bool) -> None:
        asked_at = time.monotonic()
        told = Timed(self.plaid)
        try:
            await BudgetedPages(told, self.budget, token, priority).transactions_sync(token, None)
        except RetryLaterError as error:
            if error.error_code == "OUTBOUND_BUDGET":
                # A real sync would be over, and its Item come again later: another one takes its place.
                self.found += [] if is_on_one else [(int(priority), None)]
                return
        # The one Item's own limit is what its callers wait for: no measure of who passes whom.
        if not is_on_one:
            self.found.append((int(priority), told.sent_at - asked_at))


class Timed(PlaidClient):
    """The process's client, noting when a call was let through to it."""

    def __init__(self, plaid: PlaidClient) -> None:
        self._plaid = plaid
        self.sent_at = 0.0

    async def transactions_sync(self, access_token: str, cursor: str | None, again: Again | None = None) -> bytes:
        """Return the page."""
        self.sent_at = time.monotonic()
        return await self._plaid.transactions_sync(access_token, cursor, again)


def worker(aim: Aim, start: tuple[Any, Any]) -> None:
    """Run one worker process, 34 callers that want more than there is, as soon as all processes are there."""
    barrier, pipe = start
    given = {"plaid_base_url": aim.plaid_url, "plaid_client_id": "sandbox-client"}
    settings = load_settings(environment="test").model_copy(update=given)
    barrier.wait(READY_SECONDS)

    async def run() -> None:
        plaid = PlaidClient(settings, "sandbox-secret")
        async with Redis.from_url(aim.redis_url) as redis, aclosing(plaid):
            load = Load(aim, plaid, Budget(redis, aim.limits), time.monotonic() + aim.seconds)
            callers = [load.call(priority, place) for priority, count in CALLERS.items() for place in range(count)]
            done, pending = await asyncio.wait(map(asyncio.ensure_future, callers), timeout=aim.seconds)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await load.budget.close()
            pipe.send((load.found, sum(task.exception() is not None for task in done)))

    asyncio.run(run())


async def fleet(servers: Servers, limits: Limits, arguments: argparse.Namespace, window: str) -> dict[str, Any]:
    """Run the worker processes against one simulator and return the figures."""
    url = await asyncio.to_thread(_simulator, servers, window)
    redis_url = f"{servers.redis_url.rpartition('/')[0]}/{WINDOWS.index(window)}"
    async with httpx.AsyncClient(base_url=f"{url}/control/", timeout=60) as control:
        asked = {"count": limits.per_client, "transactions": 5}
        items = (await control.post("items", json=asked)).raise_for_status().json()["items"]
        (await control.post("latency", json=LATENCY)).raise_for_status()
        aim = Aim(redis_url, url, tuple(item["access_token"] for item in items), limits, arguments.seconds)
        start = asyncio.Event()
        told = asyncio.create_task(_run(aim, arguments.processes, start))
        await start.wait()
        enforced = {SYNC: {"item": limits.per_item, "client": limits.per_client}}
        rules = {"budgets": enforced, "window": window, "minute_seconds": limits.window_seconds}
        (await control.post("limits", json=rules)).raise_for_status()
        results, seconds = await told
        counted = (await control.post("requests", json={"item_id": items[0]["item_id"]})).json()
    return {"window": window, **_judged(counted, limits, seconds), **_waits(results)}


def _simulator(servers: Servers, window: str) -> str:
    log = servers.directory / f"simulator-{window}.log"
    servers.supervisor.start(f"simulator-{window}", [sys.executable, "-m", "simulator"], log=log)
    servers.supervisor.wait_ready(f"simulator-{window}", lambda: "listening" in log.read_text())
    found = re.search(r"http://\S+", log.read_text())
    if found is None:
        raise RuntimeError(f"the simulator said no address in {log}")
    return found[0]


async def _run(aim: Aim, processes: int, start: asyncio.Event) -> tuple[list[Any], float]:
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe(duplex=False) for _ in range(processes)]
    barrier = context.Barrier(processes + 1)
    workers = [context.Process(target=worker, args=(aim, (barrier, sender))) for _, sender in ends]
    for process in workers:
        process.start()
    # The rules are set before anybody may call: all processes wait for this one.
    start.set()
    await asyncio.to_thread(barrier.wait, READY_SECONDS)
    began = time.monotonic()
    results = await asyncio.gather(*(asyncio.to_thread(receiver.recv) for receiver, _ in ends))
    seconds = time.monotonic() - began
    for process in workers:
        await asyncio.to_thread(process.join)
    return results, seconds


def _judged(counted: dict[str, Any], limits: Limits, seconds: float) -> dict[str, Any]:
    """Return what the simulator says."""
    answers = counted["paths"][SYNC]["answers"]
    passed, refused = answers.get("200", 0), answers.get("429", 0)
    ((_, on_one),) = counted["items"].items()
    windows = max(1.0, seconds / limits.window_seconds)
    return {
        "seconds": round(seconds, 1),
        "answers": answers,
        "used_percent": round(100 * passed / (limits.per_client * windows), 2),
        "refused_percent": round(100 * refused / max(1, passed + refused), 3),
        "used_percent_of_one_item": round(100 * on_one["requests"][SYNC] / (limits.per_item * windows), 1),
    }


def _waits(results: list[Any]) -> dict[str, Any]:
    """Return what the workers say."""
    found = [one for result, _ in results for one in result]
    waits = {
        priority.name.lower(): sorted(w for p, w in found if p == priority and w is not None) for priority in Priority
    }
    return {
        "errors": sum(errors for _, errors in results),
        "postponed": {
            priority.name.lower(): sum(1 for p, wait in found if p == priority and wait is None)
            for priority in Priority
        },
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


async def measure(servers: Servers, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return every figure, after both fleets have run at the same time."""
    cost = await overhead(servers.redis_url)
    async with Redis.from_url(servers.redis_url) as redis:
        await redis.flushall()
    limits = Limits(arguments.item_limit, arguments.limit, arguments.window)
    fleets = await asyncio.gather(*(fleet(servers, limits, arguments, window) for window in WINDOWS))
    scale = f"{limits.per_client / PUBLISHED_PER_CLIENT:.2f} of Plaid's {PUBLISHED_PER_CLIENT} a minute"
    given = {"per_item": limits.per_item, "per_client": limits.per_client, "window_seconds": limits.window_seconds}
    return {"limits": {**given, "scale": scale}, "cpu_us_a_call": cost, "fleets": list(fleets)}


def outbound_budget(given: list[str]) -> dict[str, Any]:
    """Return the figures for these arguments, measured on servers of our own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=600, help="calls a window for the client (600)")
    parser.add_argument("--item-limit", type=int, default=50, help="calls a window for an Item (50)")
    parser.add_argument("--window", type=float, default=60.0, help="the window in seconds, Plaid's is 60")
    parser.add_argument("--seconds", type=float, default=100.0, help="how long is measured (100)")
    parser.add_argument("--processes", type=int, default=4, help="worker processes of each of the two fleets (4)")
    arguments = parser.parse_args(given)
    with open_servers(durable=False) as servers:
        return asyncio.run(measure(servers, arguments))


if __name__ == "__main__":
    print(json.dumps(outbound_budget(sys.argv[1:]), indent=1))
