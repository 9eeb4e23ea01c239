"""Finds the Items that are due and puts them on the queue; any number of dispatchers may do so at once."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select, update

from core.broker.messages import ITEMS_A_MESSAGE, SyncItems
from core.database import Database
from core.identity import jittered
from core.models import PlaidItem, SyncTrigger
from core.resources import Resources

log = structlog.get_logger()

CLAIM_LIMIT = 1000
# How long a claimed Item waits in the queue before it counts as due again: a lost message costs this much.
CLAIM_SECONDS = 300


async def dispatch_due(resources: Resources) -> int:
    """Send every due Item to the queue of its kind, and return how many that were.

    An Item is claimed, by moving its `next_sync_at`, before its message is sent: a crash in between delays it by
    five minutes and loses nothing.
    """
    total = 0
    while claimed := await claim_due(resources.database):
        for trigger in (SyncTrigger.SCHEDULED, SyncTrigger.BACKFILL):
            of_kind = [item_id for item_id, is_new in claimed if is_new is (trigger is SyncTrigger.BACKFILL)]
            for part in _in_messages(of_kind):
                await resources.publisher.publish(SyncItems(part, trigger))
        total += len(claimed)
        if len(claimed) < CLAIM_LIMIT:
            break
    if total:
        log.info("due_items_dispatched", items=total)
    return total


async def claim_due(database: Database, limit: int = CLAIM_LIMIT) -> list[tuple[UUID, bool]]:
    """Claim up to `limit` due Items, longest due first, and return each with whether it was never synced.

    Rows that another dispatcher is claiming are stepped over, not waited for.
    """
    hold = func.now() + timedelta(seconds=jittered(CLAIM_SECONDS))
    due = (
        select(PlaidItem.id)
        .where(PlaidItem.next_sync_at <= func.now())
        .order_by(PlaidItem.next_sync_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claim = update(PlaidItem).where(PlaidItem.id.in_(due.scalar_subquery())).values(next_sync_at=hold)
    async with database.connection() as connection:
        rows = await connection.execute(claim.returning(PlaidItem.id, PlaidItem.last_synced_at.is_(None)))
        return [(item_id, is_new) for item_id, is_new in rows]


def _in_messages(item_ids: Sequence[UUID]) -> Iterator[tuple[UUID, ...]]:
    for start in range(0, len(item_ids), ITEMS_A_MESSAGE):
        yield tuple(item_ids[start : start + ITEMS_A_MESSAGE])
