"""How the whole fleet does: what an operator sees first, in a handful of queries of which each has an end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.database import Database
from core.identity import first_id_at
from core.models import ItemStatus

# Seconds since the last sync at which one column of the histogram ends and the next begins.
FRESHNESS_BOUNDS = (900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)
NEVER = len(FRESHNESS_BOUNDS) + 1
MINUTES = 60
FAILING_SHOWN = 12
# A fleet that cannot be summed up in this time is looked at in Grafana.
LIMIT = "SET LOCAL statement_timeout = '5s'"

# One walk over the Items for all that is counted of them.
ITEMS = """
SELECT status, coalesce(width_bucket(extract(epoch FROM now() - last_synced_at)::float8, :bounds), :never) AS age,
    count(*) AS items,
    count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked
FROM plaid_items GROUP BY 1, 2
"""
DUE = """
SELECT count(*) AS items, coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS overdue
FROM item_schedules WHERE due_at <= now()
"""
# The ids are in order of time, so that the key's index finds the last hour.
RUNS = """
SELECT (extract(epoch FROM date_trunc('minute', now()) - date_trunc('minute', started_at)) / 60)::int AS ago,
    count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE status = 'failed') AS failed
FROM sync_runs WHERE id >= :oldest AND started_at > now() - interval '1 hour' GROUP BY 1
"""
FAILING = """
SELECT institution_id, error_code, count(*) AS items, min(last_synced_at) AS oldest
FROM plaid_items WHERE error_code IS NOT NULL AND status NOT IN ('revoked', 'removed')
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT :shown
"""
BREAKERS = """
SELECT scope, state, failures, error_code, opened_at, probe_at,
    (SELECT count(*) FROM plaid_items WHERE parked_at IS NOT NULL
        AND (scope = 'plaid' OR institution_id = split_part(scope, ':', 2))) AS parked
FROM circuit_breakers WHERE state <> 'counting' ORDER BY opened_at
"""
AUDIT = """
SELECT (SELECT seq FROM audit_chain) AS sealed, count(*) AS waiting,
    coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS lag_seconds,
    (SELECT max(last_seq) FROM audit_checkpoints) AS signed_through,
    (SELECT max(signed_at) FROM audit_checkpoints) AS signed_at
FROM audit_outbox
"""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Minute:
    """What ended in one minute."""

    ago: int
    succeeded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet at a moment.

    Attributes:
        at: the database's time.
        statuses: Items by status, every status among them.
        freshness: Items in service by the time since their last sync, one more than `FRESHNESS_BOUNDS`, then those
            that never were synced.
        due: how many Items the schedule should have looked at by now.
        overdue_seconds: how long the one waits that waits longest.
        parked: Items held back because their institution is down.
        minutes: the last hour, oldest minute first.
        failing: Items that fail now, by institution and error code, most first.
        breakers: what is held back, and since when.
        audit: how far the chain is, what waits for it and how long, and what is signed.
    """

    at: datetime
    statuses: dict[ItemStatus, int]
    freshness: tuple[int, ...]
    due: int
    overdue_seconds: float
    parked: int
    minutes: tuple[Minute, ...]
    failing: list[Row]
    breakers: list[Row]
    audit: Row

    @property
    def in_service(self) -> int:
        """Items that are synced, or would be if nothing were wrong."""
        return sum(self.freshness)


async def read_overview(database: Database) -> Overview:
    """Return how the fleet does now.

    Raises:
        DBAPIError: a query took more than five seconds.
    """
    async with database.connection() as connection:
        await connection.execute(text(LIMIT))
        at: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
        items = await _rows(connection, ITEMS, bounds=[float(one) for one in FRESHNESS_BOUNDS], never=NEVER)
        (due,) = await _rows(connection, DUE)
        runs = await _rows(connection, RUNS, oldest=first_id_at(at - timedelta(minutes=MINUTES)))
        failing = await _rows(connection, FAILING, shown=FAILING_SHOWN)
        breakers = await _rows(connection, BREAKERS)
        (audit,) = await _rows(connection, AUDIT)
    return Overview(
        at=at,
        statuses=_by_status(items),
        freshness=_by_age(items),
        due=due["items"],
        overdue_seconds=due["overdue"],
        parked=sum(row["parked"] for row in items),
        minutes=_by_minute(runs),
        failing=failing,
        breakers=breakers,
        audit=audit,
    )


async def _rows(connection: AsyncConnection, statement: str, **values: Any) -> list[Row]:
    return [dict(row._mapping) for row in await connection.execute(text(statement), values)]


def _by_status(rows: list[Row]) -> dict[ItemStatus, int]:
    return {status: sum(row["items"] for row in rows if row["status"] == status) for status in ItemStatus}


def _by_age(rows: list[Row]) -> tuple[int, ...]:
    gone = (ItemStatus.REVOKED, ItemStatus.REMOVED)
    kept = [row for row in rows if row["status"] not in gone]
    return tuple(sum(row["items"] for row in kept if row["age"] == age) for age in range(NEVER + 1))


def _by_minute(rows: list[Row]) -> tuple[Minute, ...]:
    known = {row["ago"]: Minute(**row) for row in rows}
    return tuple(known.get(ago, Minute(ago)) for ago in range(MINUTES - 1, -1, -1))
