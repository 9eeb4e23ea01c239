"""The audit log's rates: events sealed and verified a second, on the embedded PostgreSQL.

Run as `python -m benchmarks.audit [--events N] [--rounds N] [--one-core] [--keep]`. `cpu` is events per second of this
process's CPU time; `wall` is by the clock, PostgreSQL's share on the same machine included. With `--one-core` all of
it, PostgreSQL too, has one core between them. Exit code 1 below 5,000 events/s sealed or 40,000 verified, by the
clock; `--keep` writes the figures into `benchmarks/SECURITY.md`.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg

from benchmarks.kept import Log, keep
from core.audit.checkpoints import sign_checkpoints
from core.audit.signing import load_public_keys, load_signing_key
from core.audit.sink import seal_outbox
from core.audit.verification import verify_chain
from core.database import Database, open_database
from core.settings import Settings, load_settings
from core.telemetry.logs import configure_logs
from devstack.servers import open_servers

# Events a second that are promised (A3, A5).
LEAST = {"seal": 5_000, "verify": 40_000}
FILL = """
INSERT INTO audit_outbox (event_id, event_type, occurred_at, actor, resource, message, context)
SELECT gen_random_uuid(), 'plaid:item:synced', clock_timestamp(), 'manna-sync', 'item:' || gen_random_uuid(),
    'An Item''s changes were committed',
    jsonb_build_object('run_id', gen_random_uuid(), 'trigger', 'scheduled', 'version', n, 'pages', 1, 'added', n % 90)
FROM generate_series(1, $1::int) AS n
"""


async def timed(what: Callable[[], Awaitable[Any]], events: int) -> tuple[float, float]:
    """Return the events per second of wall clock and of this process's CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    await what()
    return events / (time.perf_counter() - wall), events / (time.process_time() - cpu)


async def measure(settings: Settings, events: int, rounds: int, log: Log) -> list[str]:
    """Seal, sign and verify `events` more in each round; tell every round and the medians, return what is too slow."""
    database = open_database(settings, settings.database_url)
    writer = await asyncpg.connect(settings.database_url)
    key = load_signing_key(settings)
    found: dict[str, list[tuple[float, float]]] = {"seal": [], "sign": [], "verify": []}
    for number in range(1, rounds + 1):
        await writer.execute(FILL, events)
        found["seal"].append(await timed(lambda: seal_outbox(database), events))
        found["sign"].append(await timed(lambda: sign_checkpoints(database, key, timedelta(0)), events))
        found["verify"].append(await timed(lambda: checked(settings, database), events * number))
    await writer.close()
    await database.close()
    medians = {}
    for name, rates in found.items():
        shown = "  ".join(f"{wall:>9,.0f}" for wall, _ in rates)
        medians[name], median_cpu = (statistics.median(column) for column in zip(*rates, strict=True))
        log.say(f"{name:7} wall {medians[name]:>9,.0f}/s   cpu {median_cpu:>9,.0f}/s   rounds {shown}")
    return [name for name, least in LEAST.items() if medians[name] < least]


async def checked(settings: Settings, database: Database) -> None:
    """Verify, and count only a verification that found nothing."""
    found = await verify_chain(database, load_public_keys(settings))
    if found.problem:
        sys.exit(found.problem)


def main() -> int:
    """Run on servers of its own."""
    parser = argparse.ArgumentParser(description="Measure the audit log.")
    parser.add_argument("--events", type=int, default=50_000, help="events a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-core", action="store_true", help="give everything, PostgreSQL too, one core (Linux)")
    parser.add_argument("--keep", action="store_true", help="write the figures into benchmarks/SECURITY.md")
    given, log = parser.parse_args(), Log()
    if given.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with open_servers(durable=True) as servers:
        os.environ |= {
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "MANNA_ENVIRONMENT": "test",
        }
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], check=True)
        settings = load_settings()
        configure_logs(settings.environment, "WARNING")
        slow = asyncio.run(measure(settings, given.events, given.rounds, log))
    log.say(f"too slow: {', '.join(slow)}" if slow else "every promise held")
    if given.keep:
        keep("The audit log's rates, on one core" if given.one_core else "The audit log's rates", log.lines)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
