"""Moves events from the outbox into the chain: exactly once, gap-free, causes before effects."""

from datetime import datetime
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit.chain import Link, content_of
from core.audit.counting import SEALED, count
from core.audit.reading import driver
from core.database import Database
from core.models import AuditEvent

log = structlog.get_logger()

BATCH = 1000
COLUMNS = tuple(column.name for column in AuditEvent.__table__.columns)
LOCK_HEAD = "SELECT seq, hash, sealed_at FROM audit_chain FOR UPDATE"
# After the lock, so that it never runs backwards along `seq`, not even when the server's clock does.
SEALING_TIME = "SELECT greatest(clock_timestamp(), $1)"
TAKE = """
DELETE FROM audit_outbox WHERE id IN (SELECT id FROM audit_outbox ORDER BY id LIMIT $1)
RETURNING id, event_id, event_type, occurred_at, actor, resource, message, context::text
"""
MOVE_HEAD = "UPDATE audit_chain SET seq = $1, hash = $2, sealed_at = $3"


async def seal_outbox(database: Database) -> int:
    """Seal everything that the outbox holds and return how many events that were."""
    total = 0
    while sealed := await seal_batch(database):
        total += sealed
        if sealed < BATCH:
            break
    return total


async def seal_batch(database: Database, limit: int = BATCH) -> int:
    """Seal up to `limit` events in one transaction and return their number.

    Taking a row is deleting it, in the transaction that seals it: a consumer that dies has done neither. Rows of
    transactions still open are not seen yet and not stepped over either, as a position in the ids would do; they
    are found when they are there. The lock on the head lets one consumer in at a time.
    """
    async with database.connection() as connection:
        sealed = await _seal(connection, limit)
    if sealed:
        log.debug("audit_sealed", events=sealed)
        count(SEALED, sealed)
    return sealed


async def _seal(connection: AsyncConnection, limit: int) -> int:
    head = (await connection.exec_driver_sql(LOCK_HEAD)).one()
    server = await driver(connection)
    # What is written is what was read here and hashed, never a second look at the outbox.
    taken = sorted(await server.fetch(TAKE, limit), key=itemgetter("id"))
    if not taken:
        return 0
    sealed_at = await server.fetchval(SEALING_TIME, head.sealed_at)
    await server.execute("SELECT ensure_audit_partition($1)", sealed_at)
    link, rows = _chain(Link(head.seq, head.hash), taken, sealed_at)
    await server.copy_records_to_table("audit_events", records=rows, columns=COLUMNS)
    await server.execute(MOVE_HEAD, link.seq, link.hash, sealed_at)
    return len(rows)


def _chain(head: Link, taken: list[Any], sealed_at: datetime) -> tuple[Link, list[tuple[Any, ...]]]:
    """Return the chain's new end, and the rows of `COLUMNS` that lead there."""
    rows, link = [], head
    for record in taken:
        _, *content, context = record
        following = link.next(content_of(content, context))
        rows.append((following.seq, sealed_at, *content, context, link.hash, following.hash))
        link = following
    return link, rows
