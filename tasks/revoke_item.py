"""`items.revoke`: removals that Plaid has not agreed to yet."""

from celery import shared_task

from core.broker.messages import RevokeItems
from core.items.removal import revoke_due
from tasks.base import AsyncTask, options


@shared_task(**options(RevokeItems))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Try the removals that are due."""
    self.run_async(revoke_due)
