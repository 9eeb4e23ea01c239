"""The state of the whole fleet, for Prometheus: read from the database and Redis, the same whichever process is asked.

A reading is kept for some seconds, so that several Prometheus servers cost no more than one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.broker.rabbitmq import is_rabbitmq
from core.broker.waiting import read_waiting
from core.identity import first_id_at
from core.resources import Resources
from core.sync.resend import TICKED_KEY
from core.telemetry.metrics import word

log = structlog.get_logger()

FRESH_SECONDS = 15.0
PATIENCE_SECONDS = 10.0
# Freshness of a large fleet is read from about so many Items.
SAMPLED_ITEMS = 100_000
WEBHOOK_WINDOW = timedelta(minutes=10)
UNACKED = "unacked"
QUANTILES = ("0.5", "0.95", "0.99", "1")

Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge of the fleet: its name, what it means, its labels."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


READABLE = Family("manna_fleet_readable", "1 if this part of the state could be read.", ("part",))
QUEUED = Family("manna_queue_messages", "Messages that wait, by queue.", ("queue",))
OLDEST = Family("manna_queue_oldest_seconds", "How long the oldest message has waited, by queue.", ("queue",))
IN_WORK = Family("manna_queue_unacked_messages", "Messages that workers have and have not finished.")
DISPATCHED = Family("manna_dispatch_age_seconds", "Time since the dispatcher was last here; missing after an hour.")
AGES = Family("manna_item_age_seconds", "Time since active Items were last synced; 1 is the oldest.", ("quantile",))
LAG = Family(
    "manna_webhook_to_commit_seconds",
    "From a webhook to the commit after it, in the last 10 minutes.",
    ("quantile",),
)
ITEMS = Family("manna_items", "Items by status; of a large fleet some minutes old.", ("status",))
# The one statement that reads a whole table, and one that every commit rewrites, so that no index would spare it.
BY_STATUS = "SELECT status, count(*) FROM plaid_items GROUP BY status"
# It is not asked again before so many times as long as it took: it is never more than a hundredth of a core.
RESTS = 100
STATEMENTS = {
    Family("manna_items_failing", "Items whose last sync failed, by error code.", ("error_code",)): """
        SELECT error_code, count(*) FROM plaid_items WHERE error_code IS NOT NULL GROUP BY error_code""",
    Family("manna_items_parked", "Items held back because their bank is down."): """
        SELECT count(*) FROM plaid_items WHERE parked_at IS NOT NULL""",
    Family("manna_items_due", "Items that are due and not yet dispatched."): """
        SELECT count(*) FROM item_schedules WHERE due_at <= now()""",
    Family("manna_items_due_oldest_seconds", "How long the longest due Item has waited for its dispatch."): """
        SELECT greatest(0, coalesce(extract(epoch FROM now() - min(due_at)), 0)) FROM item_schedules""",
    Family("manna_runs_running", "Syncs under way."): "SELECT count(*) FROM sync_runs WHERE status = 'running'",
    Family("manna_runs_oldest_seconds", "How long the longest of them has been under way."): """
        SELECT coalesce(extract(epoch FROM now() - min(started_at)), 0) FROM sync_runs WHERE status = 'running'""",
    Family("manna_breaker_open", "1 for what is held back: institution:ID, or plaid for everything.", ("scope",)): """
        SELECT scope, 1 FROM circuit_breakers WHERE state = 'open'""",
    Family("manna_database_lock_waits", "Database sessions that wait for a lock, a row's mostly."): """
        SELECT count(*) FROM pg_locks AS wanted JOIN pg_stat_activity AS session USING (pid)
        WHERE NOT wanted.granted AND session.datname = current_database()""",
    Family("manna_database_lock_wait_oldest_seconds", "How long the longest of them has waited."): """
        SELECT coalesce(extract(epoch FROM clock_timestamp() - min(wanted.waitstart)), 0)
        FROM pg_locks AS wanted JOIN pg_stat_activity AS session USING (pid)
        WHERE NOT wanted.granted AND session.datname = current_database()""",
    Family("manna_audit_outbox_events", "Audit events that wait to be sealed."): "SELECT count(*) FROM audit_outbox",
    Family("manna_audit_outbox_oldest_seconds", "How long the oldest of them has waited."): """
        SELECT greatest(0, coalesce(extract(epoch FROM now() - min(occurred_at)), 0)) FROM audit_outbox""",
    Family("manna_replays_open", "Replays that run or are stopped.", ("status",)): """
        SELECT status, count(*) FROM replays WHERE status <> 'finished' GROUP BY status""",
    Family("manna_replay_items", "Items of open replays, by state.", ("state",)): """
        SELECT item.state, count(*) FROM replay_items AS item JOIN replays AS replay ON replay.id = item.replay_id
        WHERE replay.status <> 'finished' GROUP BY item.state""",
}
SIZE = "SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = 'plaid_items'::regclass"
AGE = """
SELECT percentile_disc(ARRAY[0.5, 0.95, 0.99, 1])
    WITHIN GROUP (ORDER BY extract(epoch FROM now() - last_synced_at)::float8)
FROM plaid_items TABLESAMPLE SYSTEM (:percent) WHERE status = 'active' AND last_synced_at IS NOT NULL
"""
# By the ids, which are in order of time: the table has no other index that leads to the newest.
WEBHOOK_LAG = """
SELECT percentile_disc(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (ORDER BY seconds) FROM (
    SELECT extract(epoch FROM (
        SELECT run.finished_at FROM sync_runs AS run
        WHERE run.item_id = event.item_id AND run.status = 'succeeded' AND run.started_at >= event.received_at
        ORDER BY run.started_at LIMIT 1
    ) - event.received_at)::float8 AS seconds
    FROM webhook_events AS event WHERE event.id >= :first_id AND event.item_id IS NOT NULL
    ORDER BY event.id DESC LIMIT 2000
) AS waits WHERE seconds IS NOT NULL
"""
FAMILIES = (ITEMS, *STATEMENTS, AGES, LAG, DISPATCHED, QUEUED, OLDEST, IN_WORK, READABLE)


class Fleet:
    """Reads the fleet's state, at most every fifteen seconds; callers at the same time share one reading."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._families: list[Metric] = []
        self._by_status: list[Sample] = []
        self._by_status_due = float("-inf")

    async def read(self) -> list[Metric]:
        """Return the state; what cannot be read is left out, and `manna_fleet_readable` says so."""
        async with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._families = await self._read()
                self._read_at = time.monotonic()
        return self._families

    async def _read(self) -> list[Metric]:
        parts = {"database": self._database, "redis": self._redis}
        results = await asyncio.gather(*map(_attempt, parts.values()))
        families = [family for found in results if found is not None for family in found]
        readable = [((part,), float(found is not None)) for part, found in zip(parts, results, strict=True)]
        return [*families, _family(READABLE, readable)]

    async def _database(self) -> list[Metric]:
        async with self._resources.database.connection() as connection:
            await connection.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE_SECONDS:.0f}s'"))
            families = [_family(ITEMS, await self._count_by_status(connection))]
            for family, statement in STATEMENTS.items():
                rows = [_sample(row) for row in await connection.execute(text(statement))]
                families.append(_family(family, rows))
            size = (await connection.execute(text(SIZE))).scalar_one()
            percent = min(100.0, 100.0 * SAMPLED_ITEMS / size)
            ages = (await connection.execute(text(AGE), {"percent": percent})).scalar_one()
            first_id = first_id_at(datetime.now(UTC) - WEBHOOK_WINDOW)
            lags = (await connection.execute(text(WEBHOOK_LAG), {"first_id": first_id})).scalar_one()
        return [*families, _family(AGES, _quantiles(ages)), _family(LAG, _quantiles(lags))]

    async def _count_by_status(self, connection: AsyncConnection) -> list[Sample]:
        began = time.monotonic()
        if began >= self._by_status_due:
            self._by_status = [_sample(row) for row in await connection.execute(text(BY_STATUS))]
            now = time.monotonic()
            self._by_status_due = now + RESTS * (now - began)
        return self._by_status

    async def _redis(self) -> list[Metric]:
        async with self._resources.redis.pipeline(transaction=False) as pipe:
            pipe.hlen(UNACKED)
            pipe.get(TICKED_KEY)
            in_work, ticked = await pipe.execute()
        waiting = (await read_waiting(self._resources.settings, self._resources.redis)).items()
        queued = [((queue.value,), float(one.messages)) for queue, one in waiting]
        known = [((queue.value,), one.oldest_seconds) for queue, one in waiting if one.oldest_seconds is not None]
        ages = [] if ticked is None else [((), max(0.0, time.time() - float(ticked)))]
        # RabbitMQ keeps what is in work to itself.
        in_work_now = _family(IN_WORK, [] if is_rabbitmq(self._resources.settings) else [((), float(in_work))])
        return [in_work_now, _family(DISPATCHED, ages), _family(QUEUED, queued), _family(OLDEST, known)]


async def _attempt(read: Callable[[], Awaitable[list[Metric]]]) -> list[Metric] | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await read()
    except (SQLAlchemyError, RedisError, OSError) as error:
        log.warning("fleet_not_readable", error=type(error).__name__)
        return None


def _family(family: Family, samples: Iterable[Sample]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def _sample(row: Sequence[Any]) -> Sample:
    *labels, value = row
    return tuple(label if ":" in label else word(label) for label in labels), float(value)


def _quantiles(values: Sequence[float] | None) -> list[Sample]:
    return [((name,), value) for name, value in zip(QUANTILES, values or (), strict=False)]
