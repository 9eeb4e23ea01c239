"""The Item's lease, and the one more sync that a notice during it leads to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from core.broker.coalesced import leave_traces, take_traces
from core.locking import DistributedLock
from core.models import SyncTrigger
from core.resources import Resources
from core.telemetry import tracing


@asynccontextmanager
async def lease_item(
    resources: Resources, item_id: UUID, trigger: SyncTrigger
) -> AsyncIterator[DistributedLock | None]:
    """Hold the Item's lease; afterwards send for one more sync if a notice came in meanwhile.

    Gives None when another worker holds it; a webhook's or a person's notice is then left with that worker.
    """
    lease = resources.lease(item_id)
    if not await lease.try_acquire(leave_notice=trigger.is_notice):
        if trigger.is_notice and (trace := tracing.current()):
            await leave_traces(resources.redis, item_id, [trace])
        yield None
        return
    try:
        if tracing.is_traced():
            tracing.link(await take_traces(resources.redis, item_id))
        yield lease
    finally:
        await lease.release()
        if lease.notice_left:
            await resources.publisher.publish_once(item_id, SyncTrigger.WEBHOOK)
        resources.publisher.wake_audit_soon()
