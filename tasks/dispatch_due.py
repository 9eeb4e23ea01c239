"""`sync.dispatch_due`: beat's tick."""

from celery import shared_task

from core.broker.messages import DispatchDue
from core.sync.due import dispatch_due
from tasks.base import AsyncTask, options


@shared_task(**options(DispatchDue))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Put the due Items on the queue."""
    self.run_async(dispatch_due)
