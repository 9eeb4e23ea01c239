"""`keys.reencrypt`: online re-encryption on a worker, in pieces that fit a task's time limit."""

import structlog
from celery import shared_task

from core.broker.messages import ReencryptTokens
from core.resources import Resources
from core.rotation.rotate import reencrypt_everywhere
from tasks.base import AsyncTask, options

log = structlog.get_logger()


async def reencrypt_some(resources: Resources) -> None:
    """Re-encrypt for half of the time limit, and send for the rest while that leads anywhere."""
    seconds = resources.settings.sync_time_limit_seconds / 2
    state = await reencrypt_everywhere(resources.database, resources.settings, seconds=seconds)
    log.info(
        "reencrypted",
        key_id=state.key_id,
        rewritten=state.rewritten,
        remaining=state.remaining,
        unreadable=state.unreadable,
    )
    if not state.complete and state.rewritten:
        await resources.publisher.publish(ReencryptTokens())


@shared_task(**options(ReencryptTokens))  # type: ignore[untyped-decorator]  # Celery publishes no types
def run(self: AsyncTask) -> None:
    """Re-encrypt what is under other keys."""
    self.run_async(reencrypt_some)
