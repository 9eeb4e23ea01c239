"""`sync.items`: up to fifty Items in one message, each with its own lease, commit and verdict."""

import asyncio
from uuid import UUID

import structlog
from celery import shared_task

from core.broker.messages import SyncItems
from core.models import SyncTrigger
from core.resources import Resources
from tasks.base import AsyncTask, options
from tasks.sync_item import sync_one

log = structlog.get_logger()


async def sync_many(resources: Resources, item_ids: list[UUID], trigger: SyncTrigger) -> None:
    """Sync the Items side by side; one that fails unexpectedly takes none of the others with it."""
    syncs = (sync_one(resources, item_id, trigger) for item_id in item_ids)
    for item_id, result in zip(item_ids, await asyncio.gather(*syncs, return_exceptions=True), strict=True):
        if isinstance(result, Exception):
            log.error("sync_crashed", item_id=str(item_id), error=type(result).__name__)


@shared_task(**options(SyncItems))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask, item_ids: list[str], trigger: str) -> None:
    """Bring several Items up to date."""
    ids = [UUID(item_id) for item_id in item_ids]
    self.run_async(lambda resources: sync_many(resources, ids, SyncTrigger(trigger)))
