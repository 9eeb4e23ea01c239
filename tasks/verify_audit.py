"""`audit.verify`: walk along the whole audit chain, because somebody asked for it."""

from celery import shared_task

from core.audit.proof import prove_chain
from core.broker.messages import VerifyAudit
from tasks.base import AsyncTask, options


@shared_task(**options(VerifyAudit))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask, *, actor: str) -> None:
    """Verify the chain and its signatures."""
    self.run_async(lambda resources: prove_chain(resources.settings, resources.database, actor))
