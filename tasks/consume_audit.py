"""`audit.consume`: the dedicated consumer seals what the outbox holds."""

from celery import shared_task

from core.audit.sink import seal_outbox
from core.broker.messages import ConsumeAudit
from core.resources import Resources
from tasks.base import AsyncTask, options


async def consume(resources: Resources) -> None:
    """Clear the wake-up, then drain: whatever is written from now on wakes the consumer again."""
    await resources.publisher.audit_woken()
    await seal_outbox(resources.database)


@shared_task(**options(ConsumeAudit))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Seal the audit outbox."""
    self.run_async(consume)
