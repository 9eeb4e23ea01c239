"""`items.reconcile`: compare an Item with everything that Plaid has, because somebody asked for it."""

from uuid import UUID

from celery import shared_task

from core.broker.messages import ReconcileItem
from core.items.reconciliation import reconcile_and_record
from tasks.base import AsyncTask, options


@shared_task(**options(ReconcileItem))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask, *, item_id: str, repair: bool, actor: str) -> None:
    """Compare it, and repair it if that was asked for."""
    self.run_async(lambda resources: reconcile_and_record(resources, UUID(item_id), actor, repair=repair))
