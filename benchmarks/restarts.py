"""How long anything waits when a part is restarted under load: a worker, a deploy, beat, Redis, PostgreSQL.

Run as `python -m benchmarks.restarts [--quick]`, or as a part of `make bench`; ends with 1 if the ledger differs
afterwards, or if anything waited longer than its time-out and ten seconds.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import asyncpg
import httpx

from benchmarks.restart_load import CREATE, UNANSWERED, WAITS, loaded
from benchmarks.sql import execute, fetch, fetch_value
from core.broker.redis_transport import LEASE_SECONDS as MESSAGE_SECONDS
from core.settings import load_settings
from devstack.compare import compare
from devstack.stack import CELERY, QUIET, SYNC_QUEUES, Stack, link_items, open_stack
from worker.leadership import LEASE_SECONDS as BEAT_SECONDS

ITEMS, TRANSACTIONS = 80, 60
# A sync takes so long at least: at any moment a dozen are in the middle of it.
PLAID_MS = {"ms": 800, "jitter_ms": 400}
BEFORE_SECONDS, AFTER_SECONDS = 4.0, 6.0
SHORT_SECONDS, LONG_SECONDS = 3.0, 12.0
# What the issue allows beyond the time-out.
GRACE_SECONDS = 10.0
POLL_SECONDS = 0.1
# As compose and Kubernetes set it.
DEPLOYED = {"SYNC_LOCK_TTL_SECONDS": "10"}
SYNCED = "SELECT count(*) FROM plaid_items WHERE version > 0"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens, the time-out that applies to what it leaves behind, and that time-out's name."""

    name: str
    happens: Callable[[Stack], None]
    time_out_seconds: float
    time_out: str


def start_worker(stack: Stack, name: str) -> None:
    """Start a worker of that name and wait until it is ready, however many of that name there were before."""
    _start(stack, name, [*CELERY, "worker", "-Q", SYNC_QUEUES, *QUIET, "-n", f"{name}@%h"], "ready")


def start_beat(stack: Stack, name: str) -> None:
    """Start a beat, which looks on while another one leads."""
    _start(stack, name, [*CELERY, "beat", "-s", str(stack.servers.directory / f"{name}-schedule")], "Starting")


def _start(stack: Stack, name: str, argv: list[str], word: str) -> None:
    log = stack.servers.directory / f"{name}.log"
    known = log.stat().st_size if log.exists() else 0
    supervisor = stack.servers.supervisor
    supervisor.start(name, argv, log=log, env=stack.environment, stop_seconds=60)
    supervisor.wait_ready(name, lambda: word.encode() in log.read_bytes()[known:])


def worker_is_killed(stack: Stack) -> None:
    """One of two workers is killed and replaced."""
    stack.servers.supervisor.stop("worker", signal.SIGKILL)
    start_worker(stack, "worker")


def workers_are_deployed(stack: Stack) -> None:
    """Each worker is told to end, and replaced: one after the other."""
    for name in ("worker", "second"):
        stack.servers.supervisor.stop(name)
        start_worker(stack, name)


def beat_is_killed(stack: Stack) -> None:
    """The beat that leads is killed; the one that looked on takes over."""
    stack.servers.supervisor.stop("beat", signal.SIGKILL)


def redis_is_away(seconds: float) -> Callable[[Stack], None]:
    """Return a Redis that is stopped, and started after so many seconds."""

    def happens(stack: Stack) -> None:
        if stack.servers.valkey is None:
            raise RuntimeError("Redis is restarted: it has to be our own, without REDIS_URL")
        stack.servers.valkey.stop()
        time.sleep(seconds)
        stack.servers.valkey.start()

    return happens


def postgresql_is_away(seconds: float) -> Callable[[Stack], None]:
    """Return a PostgreSQL that is stopped, and started after so many seconds."""

    def happens(stack: Stack) -> None:
        if stack.servers.postgres is None:
            raise RuntimeError("PostgreSQL is restarted: it has to be our own, without DATABASE_URL")
        stack.servers.postgres.stop()
        time.sleep(seconds)
        stack.servers.postgres.start()

    return happens


def disturbances(*, quick: bool) -> list[Disturbance]:
    """Return what happens, in turn, with what each may cost."""
    settings = load_settings()
    lease, connect = max(settings.sync_lock_ttl_seconds, MESSAGE_SECONDS), settings.connect_timeout_seconds
    away = (SHORT_SECONDS,) if quick else (SHORT_SECONDS, LONG_SECONDS)
    return [
        Disturbance("a worker is killed", worker_is_killed, lease, "SYNC_LOCK_TTL_SECONDS"),
        Disturbance("a deploy", workers_are_deployed, lease, "SYNC_LOCK_TTL_SECONDS"),
        Disturbance("beat is killed", beat_is_killed, BEAT_SECONDS, "beat's lease"),
        *(
            Disturbance(f"{server} is away for {seconds:g} s", happens(seconds), connect, "CONNECT_TIMEOUT_SECONDS")
            for server, happens in (("Redis", redis_is_away), ("PostgreSQL", postgresql_is_away))
            for seconds in away
        ),
    ]


def restarts(*, quick: bool = False) -> list[dict[str, Any]]:
    """Return for each disturbance how many syncs were asked for, the longest wait, its bound, and what differs."""
    with patch.dict(os.environ, DEPLOYED), _open_house() as (stack, item_ids):
        return [_told(_disturbed(stack, item_ids, one)) for one in disturbances(quick=quick)]


@contextmanager
def _open_house() -> Iterator[tuple[Stack, list[str]]]:
    with open_stack() as stack:
        start_worker(stack, "second")
        start_beat(stack, "looks-on")
        item_ids = link_items(stack, ITEMS, TRANSACTIONS)
        url = stack.servers.database_url
        while fetch_value(url, SYNCED) < ITEMS:
            time.sleep(POLL_SECONDS)
        execute(url, CREATE)
        httpx.post(f"{stack.simulator_url}/control/latency", json=PLAID_MS).raise_for_status()
        yield stack, item_ids


def _disturbed(stack: Stack, item_ids: list[str], one: Disturbance) -> dict[str, Any]:
    url = stack.servers.database_url
    bound = one.time_out_seconds + GRACE_SECONDS
    execute(url, "TRUNCATE bench_asked, webhook_events")
    with loaded(stack, item_ids):
        time.sleep(BEFORE_SECONDS)
        gone = time.time()
        one.happens(stack)
        # Where a server was away, nobody can be served before it is back.
        back = time.time() if "away" in one.name else gone
        time.sleep(AFTER_SECONDS)
    deadline = time.monotonic() + bound + GRACE_SECONDS
    while (left := fetch_value(url, UNANSWERED)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    waits = [row["seconds"] for row in fetch(url, WAITS, gone, back)]
    return {
        "what": one.name,
        "asked": len(waits),
        "longest_seconds": round(max(waits), 1),
        "bound_seconds": bound,
        "time_out": one.time_out,
        "unanswered": left,
        "differences": len(asyncio.run(_differences(stack))),
    }


async def _differences(stack: Stack) -> tuple[str, ...]:
    connection = await asyncpg.connect(stack.servers.database_url)
    try:
        return (await compare(connection, stack.simulator_url)).differences
    finally:
        await connection.close()


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """Print a figure as it comes in."""
    ledger = "the ledger is equal" if not found["differences"] else f"{found['differences']} ROWS DIFFER"
    waits = f"longest wait {found['longest_seconds']:5.1f} s of at most {found['bound_seconds']:g}"
    left = f", {found['unanswered']} NEVER ANSWERED" if found["unanswered"] else ""
    print(f"  {found['what']:28} {found['asked']:4} asked, {waits}{left}, {ledger}", flush=True)
    return found


def broken(found: list[dict[str, Any]]) -> list[str]:
    """Return the disturbances after which something was not as promised."""
    return [
        one["what"]
        for one in found
        if one["differences"] or one["unanswered"] or one["longest_seconds"] > one["bound_seconds"]
    ]


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the longer outages")
    if found := broken(restarts(quick=parser.parse_args().quick)):
        sys.exit("not as promised: " + ", ".join(found))


if __name__ == "__main__":
    main()
