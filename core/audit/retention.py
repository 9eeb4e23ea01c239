"""Drops what is past its retention: whole months of the audit log, closed sync runs, remembered webhooks."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Select, delete, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit.context import AuditContext
from core.audit.events import AuditEventType
from core.audit.outbox import log_audit_event
from core.audit.sink import seal_outbox
from core.database import Base, Database
from core.identity import first_id_at
from core.models import AuditEvent, Replay, RunStatus, SyncRun, WebhookEvent
from core.settings import Settings

log = structlog.get_logger()

Conditions = tuple[ColumnElement[bool], ...]

ROWS_A_BATCH = 5000
MONTHS = """
SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass
    AND to_date(right(inhrelid::regclass::text, 6), 'YYYYMM') + interval '1 month' <= :before ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was dropped: partitions by name, rows by number."""

    partitions: tuple[str, ...]
    sync_runs: int
    webhook_events: int
    replays: int


async def prune(settings: Settings, database: Database) -> Pruned:
    """Drop everything past its retention, in short transactions, and record that it was."""
    await _prepare_next_month(database)
    runs_before, webhooks_before = _ago(settings.sync_run_retention_days), _ago(settings.webhook_retention_days)
    pruned = Pruned(
        await _drop_months(database, _ago(settings.audit_retention_days)),
        await _delete(database, SyncRun, old_runs(runs_before)),
        await _delete(database, WebhookEvent, old_webhooks(webhooks_before)),
        await _delete(database, Replay, (Replay.finished_at < runs_before,)),
    )
    log.info("pruned", **asdict(pruned))
    return pruned


def old_runs(before: datetime) -> Conditions:
    """Return what a run past its retention fits.

    By its id, which is in order of time: no index leads to the oldest rows otherwise, and a look at all of them each
    hour would outlast the statement's time-out in a large table.
    """
    return SyncRun.id < first_id_at(before), SyncRun.status != RunStatus.RUNNING


def old_webhooks(before: datetime) -> Conditions:
    """Return what a webhook past its retention fits; by its id as well."""
    return (WebhookEvent.id < first_id_at(before),)


def batch_of(table: type[Base], past: Conditions) -> Select[UUID]:
    """Return the query for the next rows to be deleted, oldest first."""
    key: ColumnElement[UUID] = table.__table__.c.id
    return select(key).where(*past).order_by(key).limit(ROWS_A_BATCH)


def _ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


async def _prepare_next_month(database: Database) -> None:
    # A partition made in its own month locks the table while the consumer waits; made before, nobody does.
    async with database.connection() as connection:
        await connection.execute(text("SELECT ensure_audit_partition(now() + interval '1 month')"))


async def _drop_months(database: Database, before: datetime) -> tuple[str, ...]:
    async with database.connection() as connection:
        months = (await connection.execute(text(MONTHS), {"before": before.replace(tzinfo=None)})).scalars().all()
    dropped: list[str] = []
    for month in months:
        # The oldest first and none before it: a gap in the middle would be no chain.
        if not await _drop_month(database, month):
            break
        dropped.append(month)
    return tuple(dropped)


async def _drop_month(database: Database, partition: str) -> bool:
    """Announce in the chain that a month goes, and then drop it; the database guards the conditions once more."""
    try:
        async with database.transaction() as session:
            await _announce(session, partition)
        await seal_outbox(database)
        async with database.connection() as connection:
            await connection.execute(select(func.drop_audit_partition(partition)))
    except DBAPIError as error:
        reason = str(error.orig).rpartition(">: ")[2].splitlines()[0]
        log.warning("audit_partition_kept", partition=partition, reason=reason)
        return False
    return True


async def _announce(session: AsyncSession, partition: str) -> None:
    span = text("SELECT first, last FROM droppable_audit_partition(:name)")
    first, last = (await session.execute(span, {"name": partition})).one()
    resource = f"partition:{partition}"
    announced = select(AuditEvent.seq).where(
        AuditEvent.resource == resource, AuditEvent.event_type == AuditEventType.PARTITION_RETIRED.value
    )
    if last is None or (await session.execute(announced)).first() is not None:
        return
    await log_audit_event(
        AuditEventType.PARTITION_RETIRED,
        "A month of the audit log is dropped by retention",
        session=session,
        context=AuditContext(partition=partition, first_seq=first, last_seq=last),
        resource=resource,
    )


async def _delete(database: Database, table: type[Base], past: Conditions) -> int:
    """Delete rows in batches, each its own transaction with its own event."""
    total, key = 0, table.__table__.c.id
    while True:
        async with database.transaction() as session:
            batch = batch_of(table, past).scalar_subquery()
            removed = len((await session.execute(delete(table).where(key.in_(batch)).returning(key))).all())
            if removed:
                name = table.__tablename__
                context = AuditContext(table=name, count=removed)
                message = "Rows past their retention were deleted"
                await log_audit_event(AuditEventType.RETENTION_APPLIED, message, session=session, context=context)
        total += removed
        if removed < ROWS_A_BATCH:
            return total
