"""`sync.item`: one Item, for webhooks and people."""

import time
from uuid import UUID

import structlog
from celery import shared_task

from core.broker.messages import SyncItem
from core.errors import NotFoundError
from core.models import RunStatus, SyncTrigger
from core.resources import Resources
from core.sync.outcome import Outcome
from core.sync.sync_item import sync_item
from core.telemetry import tracing
from core.telemetry.metrics import count_crash, count_sync
from tasks.base import AsyncTask, options

log = structlog.get_logger()


async def sync_one(resources: Resources, item_id: UUID, trigger: SyncTrigger) -> None:
    """Sync an Item as one of those that this process has slots for."""
    async with resources.slots:
        began = time.perf_counter()
        told = str(item_id)
        bound = structlog.contextvars.bound_contextvars(item_id=told)
        with bound, tracing.span("sync", item_id=told, trigger=trigger.value):
            try:
                outcome = await sync_item(resources, item_id, trigger)
            except NotFoundError as error:
                log.info("sync_skipped", reason=str(error))
            except Exception as error:
                count_crash(trigger, type(error).__name__)
                raise
            else:
                count_sync(trigger, outcome, time.perf_counter() - began, resources.budget)
                tell(outcome)


def tell(outcome: Outcome) -> None:
    """Say how a sync ended, in its log and its trace."""
    status, code = outcome.status.value, outcome.error_code
    log.info("sync_done", status=status, error_code=code)
    tracing.note(error=code if outcome.status is RunStatus.FAILED else None, outcome=status, error_code=code)


@shared_task(**options(SyncItem))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask, item_id: str, trigger: str) -> None:
    """Bring one Item up to date."""
    self.run_async(lambda resources: sync_one(resources, UUID(item_id), SyncTrigger(trigger)))
