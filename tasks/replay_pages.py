"""`sync.replay_pages`: recorded pages of up to fifty failed runs, each applied for itself, without Plaid."""

import asyncio
import time
from uuid import UUID

import structlog
from celery import shared_task

from core.broker.messages import ReplayPages
from core.errors import NotFoundError, PagesNotReplayableError
from core.models import SyncTrigger
from core.resources import Resources
from core.sync.replay import apply_recorded, refuse
from core.telemetry.metrics import count_crash, count_sync
from tasks.base import AsyncTask, options

log = structlog.get_logger()


async def replay_one(resources: Resources, run_id: UUID) -> None:
    """Apply a run's pages as one of the syncs that this process has slots for."""
    async with resources.slots:
        began = time.perf_counter()
        try:
            outcome = await apply_recorded(resources, run_id)
        except (NotFoundError, PagesNotReplayableError) as error:
            log.info("sync_skipped", run_id=str(run_id), reason=str(error))
            await refuse(resources.database, run_id)
        except Exception as error:
            count_crash(SyncTrigger.REPLAY, type(error).__name__)
            raise
        else:
            count_sync(SyncTrigger.REPLAY, outcome, time.perf_counter() - began, resources.budget)
            log.info("sync_done", run_id=str(run_id), status=outcome.status.value, error_code=outcome.error_code)


async def replay_many(resources: Resources, run_ids: list[UUID]) -> None:
    """Apply the runs' pages side by side; one that fails unexpectedly takes none of the others with it."""
    replays = (replay_one(resources, run_id) for run_id in run_ids)
    for run_id, result in zip(run_ids, await asyncio.gather(*replays, return_exceptions=True), strict=True):
        if isinstance(result, Exception):
            log.error("replay_crashed", run_id=str(run_id), error=type(result).__name__)


@shared_task(**options(ReplayPages))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask, run_ids: list[str]) -> None:
    """Apply the recorded pages of several runs."""
    ids = [UUID(run_id) for run_id in run_ids]
    self.run_async(lambda resources: replay_many(resources, ids))
