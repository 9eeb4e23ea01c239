"""THE LINE: how one Item is brought up to date, from the lease to the commit."""

from uuid import UUID

from core.models import SyncTrigger
from core.resources import Resources
from core.sync.changes import fetch_changes
from core.sync.commit import commit_run
from core.sync.journal import record_pages
from core.sync.lease import lease_item
from core.sync.outcome import Outcome
from core.sync.runs import failure_recorded, open_run


async def sync_item(resources: Resources, item_id: UUID, trigger: SyncTrigger) -> Outcome:
    """Bring one Item up to date with Plaid: all of its changes and the new cursor are committed, or nothing is.

    Whoever runs it twice, at once or again, changes nothing the second time. Never raises for what Plaid or a rival
    does: the outcome, the run in `sync_runs` and the Item's health tell.

    Raises:
        NotFoundError: there is no such Item, or it was removed.
        RedisError, DBAPIError: Redis or PostgreSQL is away; the Item stays due.
    """
    async with lease_item(resources, item_id, trigger) as lease:
        if lease is None:
            return Outcome.skipped("LOCK_NOT_FREE")
        run = await open_run(resources, item_id, trigger)
        if run.is_held_back:
            return Outcome.skipped("HELD_BACK")
        async with failure_recorded(resources, run):
            token = run.item.plaid_access_token
            with await fetch_changes(resources, run, token) as pages:
                await record_pages(resources, run, pages)
                lease.ensure_held()
                await commit_run(resources, run, pages)
    return run.outcome
