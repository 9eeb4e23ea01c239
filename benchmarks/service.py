"""What one worker process holds and how long a transaction lasts: 100 syncs at once, and one huge Item."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.accounting import Memory, measured
from benchmarks.contender import Session, check
from benchmarks.ground import Ground, Place, open_plaid
from benchmarks.manna import manna
from benchmarks.work import Work

SAMPLE_SECONDS = 0.05
AT_ONCE = 100
MEGABYTE = 1024 * 1024
# The service's own sessions; the dispatcher's and the audit consumer's are among them.
LOOK = """
SELECT (SELECT count(*) FROM sync_runs WHERE status = 'running'),
    (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend')
"""


@dataclass(slots=True)
class Seen:
    """The most that was seen: runs under way at once, and seconds that a transaction had been open."""

    running: int = 0
    longest_transaction_seconds: float = 0.0


@contextmanager
def watched(place: Place) -> Iterator[Seen]:
    """Look at the database twenty times a second while the body runs."""
    seen, over = Seen(), threading.Event()

    async def look() -> None:
        connection = await asyncpg.connect(place.database_url)
        while not over.is_set():
            running, seconds = await connection.fetchrow(LOOK)
            seen.running = max(seen.running, running)
            seen.longest_transaction_seconds = max(seen.longest_transaction_seconds, seconds)
            await asyncio.sleep(SAMPLE_SECONDS)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(look()), name="watch")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def hundred_at_once(ground: Ground, scale: float) -> dict[str, Any]:
    """Return the memory of one worker process that syncs 100 Items of 2,000 transactions at once."""
    settings = {"SYNC_CONCURRENCY": str(AT_ONCE), "PLAID_CONCURRENCY": str(AT_ONCE)}
    memory, seen = _load(ground, Work(AT_ONCE + 20, max(500, int(2000 * scale))), 80, settings)
    return {
        "peak_mb": memory.peak_process / MEGABYTE,
        "at_first_mb": memory.at_first / MEGABYTE,
        "runs_at_once": seen.running,
    }


def large_item(ground: Ground, scale: float) -> dict[str, Any]:
    """Return how far one worker process grows for one Item of 100,000 transactions, and the longest transaction."""
    work = Work(1, int(100_000 * scale))
    memory, seen = _load(ground, work, 0, {})
    return {
        "transactions": work.history,
        "grown_mb": (memory.peak_process - memory.at_first) / MEGABYTE,
        "longest_transaction_seconds": seen.longest_transaction_seconds,
    }


def _load(ground: Ground, work: Work, latency_ms: int, settings: dict[str, str]) -> tuple[Memory, Seen]:
    with (
        open_plaid(work, latency_ms) as plaid,
        ground.place() as place,
        manna(1, **settings)(ground, place, plaid) as session,
    ):
        memory, seen = _round(session, place)
        check("manna", session.totals(1), work.totals(1))
    return memory, seen


def _round(session: Session, place: Place) -> tuple[Memory, Seen]:
    worker = session.pids[0]
    with watched(place) as seen, measured({}, [worker]) as cost:
        session.round(1)
    return cost.memory, seen
