"""`sync.replay`: moves the running replays on, at beat's tick."""

from celery import shared_task

from core.broker.messages import AdvanceReplays
from core.resources import Resources
from core.sync.replay import advance
from tasks.base import AsyncTask, options


async def advance_all(resources: Resources) -> None:
    """Send what is due and wake the consumer for the events about it."""
    await advance(resources)
    resources.publisher.wake_audit_soon()


@shared_task(**options(AdvanceReplays))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Move the running replays on."""
    self.run_async(advance_all)
