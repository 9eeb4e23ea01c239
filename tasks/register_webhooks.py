"""`items.register_webhooks`: Items whose webhooks Plaid does not send here yet."""

from celery import shared_task

from core.broker.messages import RegisterWebhooks
from core.items.webhook_registration import register_due
from tasks.base import AsyncTask, options


@shared_task(**options(RegisterWebhooks))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Try the registrations that are due."""
    self.run_async(register_due)
