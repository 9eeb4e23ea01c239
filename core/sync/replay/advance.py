"""Moves the running replays on: notes what came of the Items that were sent, and sends as many as the rate allows.

A tick is one transaction a replay, after which the messages go out. A message that is lost costs time and nothing
else: an Item without a result is sent again.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.broker.messages import ITEMS_A_MESSAGE, ReplayPages, SyncItems
from core.models import PlaidItem, Replay, ReplayItem, ReplayState, ReplayStatus, SyncTrigger
from core.resources import Resources
from core.sync.breaker import PLAID, OpenBreakers, open_breakers
from core.sync.replay.selection import OPEN
from core.sync.resend import CLAIM_SECONDS

log = structlog.get_logger()

# What a late tick may make up for; a beat that was away does not come back with a flood.
CATCH_UP_SECONDS = 10
MOST_ATTEMPTS = 3

# Synced by whomever, an Item is well again; a run that failed since it was sent is its end here, what follows from
# the failure stands in the Item's health. One without either is asked for again, three times at most.
SETTLE = """
WITH ended AS (
    SELECT chosen.item_id,
        item.last_synced_at >= coalesce(chosen.sent_at, :created_at) AS is_synced,
        CASE WHEN item.status IN ('revoked', 'removed') THEN 'ITEM_IS_GONE'
            WHEN chosen.state = 'sent' THEN coalesce((
                SELECT run.error_code FROM sync_runs AS run
                WHERE run.item_id = chosen.item_id AND run.status = 'failed' AND run.started_at >= chosen.sent_at
                ORDER BY run.started_at DESC LIMIT 1
            ), CASE WHEN chosen.attempts >= :most AND chosen.sent_at < now() - CAST(:patience AS interval)
                THEN 'NO_RESULT' END)
        END AS error_code
    FROM replay_items AS chosen JOIN plaid_items AS item ON item.id = chosen.item_id
    WHERE chosen.replay_id = :replay_id AND chosen.state IN ('waiting', 'sent')
)
UPDATE replay_items AS chosen SET
    state = CASE WHEN ended.is_synced THEN 'succeeded' ELSE 'failed' END,
    error_code = CASE WHEN ended.is_synced THEN NULL ELSE ended.error_code END,
    ended_at = now()
FROM ended
WHERE chosen.replay_id = :replay_id AND chosen.item_id = ended.item_id
    AND (ended.is_synced OR ended.error_code IS NOT NULL)
"""


async def advance(resources: Resources) -> int:
    """Move every running replay on by one tick and return how many Items were sent.

    Any number may do so at once: a replay that another one is moving is stepped over.
    """
    running = select(Replay.id).where(Replay.status == ReplayStatus.RUNNING).order_by(Replay.created_at)
    async with resources.database.connection() as connection:
        replay_ids = (await connection.execute(running)).scalars().all()
    total = 0
    for replay_id in replay_ids:
        total += await _advance_one(resources, replay_id)
    return total


async def _advance_one(resources: Resources, replay_id: UUID) -> int:
    patience = timedelta(seconds=resources.settings.sync_time_limit_seconds + CLAIM_SECONDS)
    async with resources.database.connection() as connection:
        locked = select(Replay.__table__, func.now().label("now")).where(
            Replay.id == replay_id, Replay.status == ReplayStatus.RUNNING
        )
        replay = (await connection.execute(locked.with_for_update(skip_locked=True))).first()
        if replay is None:
            return 0
        facts = {"replay_id": replay_id, "created_at": replay.created_at, "patience": patience, "most": MOST_ATTEMPTS}
        await connection.execute(text(SETTLE), facts)
        claimed = await _claim(connection, replay, patience)
        if not claimed:
            await _finish(connection, replay_id)
    for start in range(0, len(claimed), ITEMS_A_MESSAGE):
        part = claimed[start : start + ITEMS_A_MESSAGE]
        # All of a replay are of one kind.
        if is_from_journal(replay):
            await resources.publisher.publish(ReplayPages(tuple(run_id for _, run_id in part)))
        else:
            await resources.publisher.publish(SyncItems(tuple(item_id for item_id, _ in part), SyncTrigger.REPLAY))
    if claimed:
        log.info("replay_advanced", replay_id=str(replay_id), items=len(claimed))
    return len(claimed)


def is_from_journal(replay: Any) -> bool:
    """Tell whether a replay applies recorded pages, for which Plaid is not needed."""
    return bool(replay.selection.get("from_journal"))


async def _claim(connection: AsyncConnection, replay: Any, patience: timedelta) -> Sequence[tuple[UUID, UUID]]:
    """Take as many Items as the rate allows since it was last used up; those of an open breaker wait for Plaid."""
    breakers = OpenBreakers({}) if is_from_journal(replay) else await open_breakers(connection)
    step = timedelta(seconds=60 / replay.rate_per_minute)
    # At least one step: a slow rate's allowance fills up more slowly than a late tick may make up for.
    used_until = max(replay.paced_at, replay.now - max(step, timedelta(seconds=CATCH_UP_SECONDS)))
    allowed = int((replay.now - used_until) / step)
    if allowed < 1 or PLAID in breakers.probes:
        return []
    row = ReplayItem
    chosen = _sendable(replay.id, breakers, patience).order_by(row.item_id).limit(allowed)
    claim = (
        update(row)
        .where(row.replay_id == replay.id, row.item_id.in_(chosen.scalar_subquery()))
        .values(state=ReplayState.SENT, attempts=row.attempts + 1, sent_at=func.now())
    )
    claimed = [(one.item_id, one.run_id) for one in await connection.execute(claim.returning(row.item_id, row.run_id))]
    paced_at = used_until + len(claimed) * step
    await connection.execute(update(Replay).where(Replay.id == replay.id).values(paced_at=paced_at))
    return claimed


def _sendable(replay_id: UUID, breakers: OpenBreakers, patience: timedelta) -> Select[UUID]:
    row = ReplayItem
    is_lost = (row.state == ReplayState.SENT) & (row.sent_at < func.now() - patience)
    query = select(row.item_id).join(PlaidItem, PlaidItem.id == row.item_id)
    query = query.where(row.replay_id == replay_id, (row.state == ReplayState.WAITING) | is_lost)
    return query.where(func.coalesce(PlaidItem.institution_id, "").not_in(breakers.institutions))


async def _finish(connection: AsyncConnection, replay_id: UUID) -> None:
    """Close a replay of which nothing is open any more, and record what came of it."""
    states = (
        select(ReplayItem.state, func.count().label("items"))
        .where(ReplayItem.replay_id == replay_id)
        .group_by(ReplayItem.state)
    )
    counts: dict[ReplayState, int] = {row.state: row.items for row in await connection.execute(states)}
    if any(counts.get(state) for state in OPEN):
        return
    values = {"status": ReplayStatus.FINISHED, "finished_at": func.now()}
    await connection.execute(update(Replay).where(Replay.id == replay_id).values(values))
    failed = counts.get(ReplayState.FAILED, 0)
    context = AuditContext(replay_id=str(replay_id), count=sum(counts.values()), failed=failed)
    what, message = AuditEventType.REPLAY_FINISHED, "A replay came to its end"
    await log_audit_event(what, message, session=connection, context=context, resource=f"replay:{replay_id}")
    log.info("replay_finished", replay_id=str(replay_id), items=sum(counts.values()), failed=failed)
