"""The Item's lease, and the one more sync that a notice during it leads to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from core.broker.coalesced import leave_traces, take_traces
from core.locking import DistributedLock
from core.models import SyncTrigger
from core.resources import Resources
from core.telemetry import tracing

log = structlog.get_logger()


@asynccontextmanager
async def lease_item(
    resources: Resources, item_id: UUID, trigger: SyncTrigger
) -> AsyncIterator[DistributedLock | None]:
    """Hold the Item's lease; afterwards send for one more sync if a notice came in meanwhile.

    Gives None when another worker holds it; a webhook's or a person's notice is then left with that worker. While
    Redis is away it waits where it is, at both ends: a lease left behind would keep everybody from the Item.
    """
    lease = resources.lease(item_id)
    take = partial(lease.try_acquire, leave_notice=trigger.is_notice)
    if not await resources.redis_outage.waited_out(take):
        if trigger.is_notice and (trace := tracing.current()):
            await leave_traces(resources.redis, item_id, [trace])
        yield None
        return
    try:
        if tracing.is_traced():
            tracing.link(await take_traces(resources.redis, item_id))
        yield lease
    finally:
        await _give_back(resources, lease)
        if lease.notice_left:
            await resources.publisher.publish_once(item_id, SyncTrigger.WEBHOOK)
        resources.publisher.wake_audit_soon()


async def _give_back(resources: Resources, lease: DistributedLock) -> None:
    try:
        await resources.redis_outage.waited_out(lease.give_back)
    except RedisError as error:
        # It runs out by itself; the sync's outcome stands either way.
        log.warning("lease_not_given_back", error=type(error).__name__)
