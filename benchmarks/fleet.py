"""Does it cost more to sync an Item because there are many others? And how long does picking the due ones take?"""

import asyncio
import re
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import make_url

from benchmarks.accounting import measured
from benchmarks.contender import Session, check
from benchmarks.ground import Ground, Place, Plaid, open_plaid
from benchmarks.manna import manna
from benchmarks.sql import execute, fetch
from benchmarks.work import Work
from core.database import open_database
from core.settings import load_settings
from core.sync.due import CLAIM_LIMIT, claim_due

TABLES = ("plaid_items", "item_schedules")
# Items with ids like ours, made between those that are there already, and a schedule spread over a day. Every n-th is
# due: far from the next one in the table, and in no order of time, so that each is on a page of its own.
FILL = """
SET session_replication_role = replica;
INSERT INTO plaid_items (id, user_id, plaid_item_id, institution_id, plaid_access_token, cursor, version,
    last_synced_at, next_sync_at)
SELECT uuidv7(coalesce(earliest - clock_timestamp() + random() * (latest - earliest), interval '0')),
    'user-' || n / 2, 'other-item-' || n, 'ins_' || n % 500, 'sealed:v1:' || repeat('x', 150),
    repeat('c', 80), 3, now() - interval '3 hours',
    CASE WHEN n % {every} = 0 THEN now() - random() * interval '1 hour'
    ELSE now() + interval '1 hour' + random() * interval '1 day' END
FROM generate_series(1, {items}) AS n, (
    SELECT uuid_extract_timestamp((SELECT id FROM plaid_items ORDER BY id LIMIT 1)) AS earliest,
        uuid_extract_timestamp((SELECT id FROM plaid_items ORDER BY id DESC LIMIT 1)) AS latest
) AS there;
INSERT INTO item_schedules (item_id, due_at, never_synced)
SELECT id, next_sync_at, last_synced_at IS NULL FROM plaid_items ON CONFLICT DO NOTHING
"""
NOBODY_IS_DUE = 10**9
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename = ANY($1) AND indexname NOT LIKE 'pk_%' AND indexname NOT LIKE 'uq_%'
"""
SIZES = """
SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class
WHERE oid = ANY($1::regclass[]) OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY($1::regclass[]))
ORDER BY bytes DESC
"""
WARM_UP, CLAIMS, EXPLAINED = 5, 25, 2
EXPLAIN = """
ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain';
ALTER DATABASE {name} SET auto_explain.log_min_duration = 0;
ALTER DATABASE {name} SET auto_explain.log_analyze = on;
ALTER DATABASE {name} SET auto_explain.log_buffers = on;
ALTER DATABASE {name} SET auto_explain.log_wal = on;
"""


def fill(place: Place, items: int, every: int = NOBODY_IS_DUE) -> None:
    """Put Items into the tables; what can be done in one go afterwards, triggers and indexes, is, for speed."""
    indexes = fetch(place.database_url, INDEXES, TABLES)
    execute(place.database_url, "".join(f"DROP INDEX {row['indexname']};" for row in indexes))
    execute(place.database_url, FILL.format(items=items, every=every))
    for row in indexes:
        execute(place.database_url, row["indexdef"])
    execute(place.database_url, f"VACUUM (ANALYZE) {', '.join(TABLES)}")


def mix(place: Place) -> None:
    """Lay the rows in the order of their ids, so that those worked on lie among the others, few on a page."""
    for table in TABLES:
        execute(place.database_url, f"CLUSTER {table} USING pk_{table}")
    execute(place.database_url, f"VACUUM (ANALYZE) {', '.join(TABLES)}")


@dataclass(frozen=True, slots=True)
class Crowd:
    """A service with so many Items in its tables, some of which it works on."""

    items: int
    place: Place
    session: Session


def cost_by_fleet(ground: Ground, sizes: Sequence[int], items: int, rounds: int) -> list[dict[str, Any]]:
    """Return, for each number of Items in the table, the CPU µs of an incremental sync of some of them, by round.

    The services stand side by side and take turns, forwards and backwards, so that what the machine does meanwhile
    happens to all of them. The first round of changes warms each up and is not told.
    """
    work = Work(items, 5, rounds + 2)
    with ExitStack() as stack:
        plaid = stack.enter_context(open_plaid(work, 0))
        crowds = [_crowd(stack, ground, plaid, size) for size in sizes]
        for crowd in crowds:
            _cost(ground, crowd, work, 2)
        told: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
        for number in range(3, rounds + 3):
            for crowd in crowds if number % 2 else reversed(crowds):
                told[crowd.items].append(_cost(ground, crowd, work, number))
    return [{"items_in_table": size, "synced": items, "rounds": told[size]} for size in sizes]


def _crowd(stack: ExitStack, ground: Ground, plaid: Plaid, size: int) -> Crowd:
    place = stack.enter_context(ground.place())
    session = stack.enter_context(manna(1)(ground, place, plaid))
    session.round(1)
    session.finish()
    fill(place, size - plaid.work.items)
    mix(place)
    return Crowd(size, place, session)


def _cost(ground: Ground, crowd: Crowd, work: Work, number: int) -> dict[str, float]:
    session = crowd.session
    ground.settle()
    parts = {"contender": session.pids, "postgres": [ground.postgres_pid]}
    with measured(parts, session.pids) as cost:
        session.round(number)
        session.finish()
    check("manna", session.totals(number), work.totals(number))
    return {name: seconds / work.items * 1e6 for name, seconds in cost.cpu.items()}


def claim_time(ground: Ground, items: int) -> dict[str, Any]:
    """Return the ms that each claim of 1,000 other due Items of so many takes, and PostgreSQL's plan of the statement.

    The first claims after the table was made and a checkpoint warm up and are not told.
    """
    with ground.place() as place:
        fill(place, items, every=max(1, items // (CLAIM_LIMIT * (WARM_UP + CLAIMS + EXPLAINED + 1))))
        ground.settle()
        times = asyncio.run(_claim(place, WARM_UP + CLAIMS))[WARM_UP:]
        plan = _plan(ground, place)
        sizes = {row["relname"]: row["bytes"] for row in fetch(place.database_url, SIZES, TABLES)}
    told = {"median_ms": statistics.median(times), "max_ms": max(times), "claims_ms": times}
    return {"items": items, "warm_up": WARM_UP, **told, "sizes": sizes, "plan": plan}


def _plan(ground: Ground, place: Place) -> str:
    """Have PostgreSQL tell how it did one more claim; told apart, since telling costs time."""
    log = ground.servers.directory / "postgres.log"
    execute(place.database_url, EXPLAIN.format(name=make_url(place.database_url).database))
    before = log.stat().st_size
    asyncio.run(_claim(place, EXPLAINED))
    told = log.read_text(errors="replace")[before:]
    plans = [part for part in told.split("plan:") if "Update on item_schedules" in part]
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
    return times


def median_cost(row: dict[str, Any], *parts: str) -> float:
    """Return the median over the rounds of the CPU µs of these parts together."""
    return statistics.median(_sums(row["rounds"], parts))


def cost_range(row: dict[str, Any], *parts: str) -> tuple[float, float]:
    """Return the lowest and the highest round."""
    sums = sorted(_sums(row["rounds"], parts))
    return sums[0], sums[-1]


def _sums(rounds: Iterable[dict[str, float]], parts: Sequence[str]) -> list[float]:
    return [sum(one[part] for part in parts) for one in rounds]
