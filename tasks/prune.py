"""`maintenance.prune`: drops what is past its retention, each hour."""

from celery import shared_task

from core.audit.retention import prune
from core.broker.messages import Prune
from core.resources import Resources
from core.sync.journal_retention import prune_journal
from tasks.base import AsyncTask, options


async def prune_all(resources: Resources) -> None:
    """Apply the retention and wake the consumer for the events about it."""
    await prune(resources.settings, resources.database)
    await prune_journal(resources.settings, resources.database)
    resources.publisher.wake_audit_soon()


@shared_task(**options(Prune))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Apply the retention."""
    self.run_async(prune_all)
