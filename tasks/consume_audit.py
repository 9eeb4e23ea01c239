"""`audit.consume`: the dedicated consumer seals what the outbox holds, signs it and watches it."""

from celery import shared_task

from core.audit.consumer import consume as consume_outbox
from core.broker.messages import ConsumeAudit
from core.resources import Resources
from tasks.base import AsyncTask, options


async def consume(resources: Resources) -> None:
    """Clear the wake-up, then drain: whatever is written from now on wakes the consumer again."""
    await resources.publisher.audit_woken()
    if await consume_outbox(resources.settings, resources.database):
        resources.publisher.wake_audit_soon()


@shared_task(**options(ConsumeAudit))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Seal the audit outbox."""
    self.run_async(consume)
