"""Items whose message was lost are due again at once, instead of when their claim has run out.

A claim is trust in the broker: whoever is on the queue need not be looked at again for five minutes. Where it is known
that the broker does not have the message, the trust ends.
"""

import time
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, func, update

from core.database import Database
from core.models import ItemSchedule, PlaidItem
from core.resources import Resources

log = structlog.get_logger()

# How long a claimed Item waits in the queue before it counts as due again: what a message costs that is lost unnoticed.
CLAIM_SECONDS = 300
# When the dispatcher was last here: what tells that beat and a worker for its queue are alive.
TICKED_KEY = "dispatch:ticked"
TICKED_SECONDS = 3600


async def tick(resources: Resources) -> None:
    """Write down that the dispatcher is here; a Redis that has forgotten when it last was has forgotten its queues too.

    Then every claim ends that its Item's sync has not ended: one look at all of them, once.
    """
    if await resources.redis.get(TICKED_KEY) is None:
        latest = func.now() + timedelta(seconds=CLAIM_SECONDS * 1.2)
        ended = await end_claims(resources.database, ItemSchedule.due_at.between(func.now(), latest))
        log.info("claims_of_lost_messages_ended", items=ended)
    await resources.redis.set(TICKED_KEY, int(time.time()), ex=TICKED_SECONDS)


async def unclaim(database: Database, item_ids: Collection[UUID]) -> None:
    """End the claims of Items whose message could not be sent."""
    await end_claims(database, ItemSchedule.item_id.in_(item_ids))


async def end_claims(database: Database, which: ColumnElement[bool]) -> int:
    """Make Items due when they were before they were claimed, and return how many of them were claimed.

    One that is being committed at this moment may be synced once more, for nothing.
    """
    claimed = (PlaidItem.id == ItemSchedule.item_id, PlaidItem.next_sync_at < ItemSchedule.due_at, which)
    async with database.connection() as connection:
        ended = await connection.execute(update(ItemSchedule).where(*claimed).values(due_at=PlaidItem.next_sync_at))
    return ended.rowcount
