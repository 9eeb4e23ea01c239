"""Drops the page journal's days: those past their retention, and the oldest ones while all of them take too much."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.database import Database
from core.settings import Settings
from core.sync.journal import MEGABYTE

log = structlog.get_logger()

DAYS = """
SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day, pg_total_relation_size(pg_class.oid) AS bytes
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'journal_pages'::regclass ORDER BY 1
"""
ENSURE = "SELECT ensure_journal_partition(CAST(:day AS date))"
DROP = "SELECT drop_journal_partition(CAST(:day AS date))"


@dataclass(frozen=True, slots=True)
class JournalDay:
    """A day of the journal and what it takes."""

    day: date
    bytes: int


async def prune_journal(settings: Settings, database: Database) -> list[date]:
    """Drop the days that are past or too much, return them, and make tomorrow's partition while nobody waits for it.

    With `PAGE_JOURNAL_DAYS` 0 every day is past, today's too.
    """
    today = datetime.now(UTC).date()
    dropped = to_drop(await _days(database), today, settings.page_journal_days, settings.page_journal_max_mb * MEGABYTE)
    for day in dropped:
        async with database.transaction() as session:
            await session.execute(text(DROP), {"day": day})
            await _record(session, day)
    if settings.page_journal_days:
        async with database.connection() as connection:
            for day in (today, today + timedelta(days=1)):
                await connection.execute(text(ENSURE), {"day": day})
    if dropped:
        log.info("journal_pruned", days=[str(day) for day in dropped])
    return dropped


def to_drop(days: list[JournalDay], today: date, kept_days: int, most_bytes: int) -> list[date]:
    """Return which of the days, oldest first, are to be dropped: a kept one stays whole for `kept_days` days."""
    first = today - timedelta(days=kept_days)
    dropped = [one.day for one in days if one.day < first or not kept_days]
    kept = [one for one in days if one.day not in dropped]
    # Today's stays: the runs of this hour are those that somebody is about to replay.
    while kept and kept[0].day < today and sum(one.bytes for one in kept) > most_bytes:
        dropped.append(kept.pop(0).day)
    return dropped


async def _days(database: Database) -> list[JournalDay]:
    async with database.connection() as connection:
        return [JournalDay(row.day, row.bytes) for row in await connection.execute(text(DAYS))]


async def _record(session: AsyncSession, day: date) -> None:
    context = AuditContext(table="journal_pages", partition=f"journal_pages_{day:%Y%m%d}")
    message = "A day of the page journal was dropped"
    await log_audit_event(AuditEventType.RETENTION_APPLIED, message, session=session, context=context)
