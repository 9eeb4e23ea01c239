"""Moves events from the outbox into the chain: exactly once, gap-free, causes before effects."""

from typing import Any

import structlog
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit.chain import Link, Verification, verify_links
from core.database import Database
from core.models import AuditChain, AuditEvent, AuditOutbox

log = structlog.get_logger()

BATCH = 1000


async def seal_outbox(database: Database) -> int:
    """Seal everything that the outbox holds and return how many events that were."""
    total = 0
    while sealed := await seal_batch(database):
        total += sealed
        if sealed < BATCH:
            break
    if total:
        log.info("audit_sealed", events=total)
    return total


async def seal_batch(database: Database, limit: int = BATCH) -> int:
    """Seal up to `limit` events in one transaction and return their number.

    Taking a row is deleting it, in the transaction that seals it: a consumer that dies has done neither. Rows of
    transactions still open are not seen yet and not stepped over either, as a position in the ids would do; they
    are found when they are there. The lock on the head lets one consumer in at a time.
    """
    async with database.connection() as connection:
        head = await _locked_head(connection)
        events = await _take(connection, limit)
        if events:
            await _append(connection, head, events)
    return len(events)


async def verify_chain(database: Database, batch: int = 5000) -> Verification:
    """Walk along the whole chain and compare its end with the head.

    Reads in batches, each its own short transaction, so that it neither holds memory nor a snapshot; events sealed
    meanwhile are left for the next time.
    """
    async with database.connection() as connection:
        head = await _head(connection)
    link, seen = Link(), 0
    while link.seq < head.seq:
        rows = await _events_after(database, link.seq, min(batch, head.seq - link.seq))
        found = verify_links(rows, link)
        link, seen = found.head, seen + found.events
        if found.problem:
            return Verification(seen, link, found.problem)
        if not rows:
            return Verification(seen, link, f"event {link.seq + 1} and all after it are missing")
    problem = None if link == head else "the head of the chain does not match its last event"
    return Verification(seen, link, problem)


async def _events_after(database: Database, seq: int, limit: int) -> list[Any]:
    query = select(AuditEvent.__table__).where(AuditEvent.seq > seq).order_by(AuditEvent.seq).limit(limit)
    async with database.connection() as connection:
        return list((await connection.execute(query)).all())


async def _head(connection: AsyncConnection) -> Link:
    seq, digest = (await connection.execute(select(AuditChain.seq, AuditChain.hash))).one()
    return Link(seq, digest)


async def _locked_head(connection: AsyncConnection) -> Link:
    query = select(AuditChain.seq, AuditChain.hash).with_for_update()
    seq, digest = (await connection.execute(query)).one()
    return Link(seq, digest)


async def _take(connection: AsyncConnection, limit: int) -> list[Any]:
    first = select(AuditOutbox.id).order_by(AuditOutbox.id).limit(limit).scalar_subquery()
    taken = await connection.execute(
        delete(AuditOutbox).where(AuditOutbox.id.in_(first)).returning(*AuditOutbox.__table__.c)
    )
    return sorted(taken.all(), key=lambda event: event.id)


async def _append(connection: AsyncConnection, head: Link, events: list[Any]) -> None:
    await connection.execute(select(func.ensure_audit_partition(text("now()"))))
    rows, link = [], head
    for event in events:
        following = link.next(event)
        fields = {key: value for key, value in event._mapping.items() if key != "id"}
        rows.append({**fields, "seq": following.seq, "prev_hash": link.hash, "hash": following.hash})
        link = following
    await connection.execute(insert(AuditEvent), rows)
    await connection.execute(update(AuditChain).values(seq=link.seq, hash=link.hash))
