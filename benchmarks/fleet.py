"""Does it cost more to sync an Item because there are many others? And how long does picking the due ones take?"""

import asyncio
import re
import statistics
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import make_url

from benchmarks.accounting import measured
from benchmarks.contender import check
from benchmarks.ground import Ground, Place, Plaid, open_plaid
from benchmarks.manna import manna
from benchmarks.sql import execute, fetch
from benchmarks.work import Work
from core.database import open_database
from core.settings import load_settings
from core.sync.due import CLAIM_LIMIT, claim_due

# Items that are there and not due: ids that rise with time, like ours, and a schedule spread over a day.
FILL = """
INSERT INTO plaid_items (id, user_id, plaid_item_id, institution_id, plaid_access_token, cursor, version,
    last_synced_at, next_sync_at)
SELECT uuidv7(), 'user-' || n / 2, 'other-item-' || n, 'ins_' || n % 500, 'sealed:v1:' || repeat('x', 150),
    repeat('c', 80), 3, now() - interval '3 hours', now() + interval '1 hour' + n % 86400 * interval '1 second'
FROM generate_series(1, {items}) AS n
"""
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename = 'plaid_items' AND indexname NOT LIKE 'pk_%' AND indexname NOT LIKE 'uq_%'
"""
MAKE_DUE = """
UPDATE plaid_items SET next_sync_at = now() - interval '1 minute'
WHERE id IN (SELECT id FROM plaid_items TABLESAMPLE SYSTEM ({percent}) LIMIT {items})
"""
CLAIMS = 12
EXPLAIN = """
ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain';
ALTER DATABASE {name} SET auto_explain.log_min_duration = 0;
ALTER DATABASE {name} SET auto_explain.log_analyze = on;
ALTER DATABASE {name} SET auto_explain.log_buffers = on;
"""


def fill(place: Place, items: int) -> None:
    """Put Items into the table; the indexes that can be are built afterwards, for speed."""
    indexes = fetch(place.database_url, INDEXES)
    execute(place.database_url, "".join(f"DROP INDEX {row['indexname']};" for row in indexes))
    execute(place.database_url, FILL.format(items=items))
    for row in indexes:
        execute(place.database_url, row["indexdef"])
    execute(place.database_url, "VACUUM (ANALYZE) plaid_items")


def cost_by_fleet(ground: Ground, sizes: Iterable[int], items: int) -> list[dict[str, Any]]:
    """Return, for each number of Items in the table, the CPU µs of an incremental sync of some of them."""
    work = Work(items, 5)
    with open_plaid(work, 0) as plaid:
        return [{"items_in_table": size, **_cost(ground, plaid, size)} for size in sizes]


def _cost(ground: Ground, plaid: Plaid, size: int) -> dict[str, float]:
    work = plaid.work
    with ground.place() as place:
        fill(place, size - work.items)
        with manna(1)(ground, place, plaid) as session:
            session.round(1)
            session.finish()
            ground.settle()
            parts = {"contender": session.pids, "postgres": [ground.postgres_pid]}
            with measured(parts, session.pids) as cost:
                session.round(2)
                session.finish()
            check("manna", session.totals(2), work.totals(2))
    return {name: seconds / work.items * 1e6 for name, seconds in cost.cpu.items()}


def claim_time(ground: Ground, items: int) -> dict[str, Any]:
    """Return the ms that claiming 1,000 due Items of so many takes, and PostgreSQL's plan of the statement."""
    with ground.place() as place:
        fill(place, items)
        due = CLAIM_LIMIT * (CLAIMS + 4)
        execute(place.database_url, MAKE_DUE.format(percent=min(100, 200 * due / items), items=due))
        execute(place.database_url, "VACUUM (ANALYZE) plaid_items")
        ground.settle()
        times = asyncio.run(_claim(place, CLAIMS))
        plan = _plan(ground, place)
    return {"items": items, "median_ms": statistics.median(times), "max_ms": max(times), "plan": plan}


def _plan(ground: Ground, place: Place) -> str:
    """Have PostgreSQL tell how it did one more claim; told apart, since telling costs time."""
    log = ground.servers.directory / "postgres.log"
    execute(place.database_url, EXPLAIN.format(name=make_url(place.database_url).database))
    before = log.stat().st_size
    asyncio.run(_claim(place, 2))
    told = log.read_text(errors="replace")[before:]
    plans = [part for part in told.split("plan:") if "plaid_items" in part and "Update on" in part]
    return re.split(r"\n\d{4}-", plans[-1])[0].strip() if plans else "PostgreSQL told no plan"


async def _claim(place: Place, claims: int) -> list[float]:
    settings = load_settings(database_url=place.database_url, redis_url=place.redis_url, environment="test")
    database = open_database(settings, place.database_url)
    times = []
    for _ in range(claims):
        began = time.perf_counter()
        claimed = await claim_due(database)
        times.append((time.perf_counter() - began) * 1000)
        if len(claimed) != CLAIM_LIMIT:
            raise RuntimeError(f"{len(claimed)} Items were claimed, not {CLAIM_LIMIT}")
    await database.close()
    # The first opens the connection and warms what a dispatcher has warm.
    return times[1:]
