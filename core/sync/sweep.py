"""Finds the runs that nobody is working on any more, closes them, makes their Items due again, and cleans up."""

from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.locking.redis_lock import held_names, item_lease
from core.models import STAGED, PlaidItem, RunStatus, SyncRun
from core.resources import Resources

log = structlog.get_logger()

LIMIT = 1000
# Of runs that are over: their worker died between its last statement and this clean-up. Run by run along the index,
# for a large Item's rows under way are none of it.
ORPHANED = text("""
WITH RECURSIVE runs AS (
    (SELECT run_id FROM staged_transactions ORDER BY run_id LIMIT 1)
    UNION ALL
    SELECT (SELECT run_id FROM staged_transactions WHERE run_id > runs.run_id ORDER BY run_id LIMIT 1)
    FROM runs WHERE run_id IS NOT NULL
)
DELETE FROM staged_transactions WHERE run_id IN (
    SELECT run_id FROM runs WHERE NOT EXISTS (
        SELECT FROM sync_runs WHERE sync_runs.id = runs.run_id AND sync_runs.status = 'running'
    )
)
""")


async def sweep(resources: Resources) -> int:
    """Close every run whose worker died, and return how many that were.

    A run is lost when it is older than the lease's time to live and nobody holds its Item's lease. Should its worker
    be alive after all (Redis may have forgotten the lease), it still commits or not by the version check.
    """
    ttl = timedelta(seconds=resources.settings.sync_lock_ttl_seconds)
    query = (
        select(SyncRun.id, SyncRun.item_id)
        .where(SyncRun.status == RunStatus.RUNNING, SyncRun.started_at < func.now() - ttl)
        # The lost grow older than any that lives: however many live, they come first in the end.
        .order_by(SyncRun.started_at)
        .limit(LIMIT)
    )
    async with resources.database.connection() as connection:
        await connection.execute(ORPHANED)
        old = {row.id: row.item_id for row in await connection.execute(query)}
    if not old:
        return 0
    held = await held_names(resources.redis, [item_lease(item_id) for item_id in old.values()])
    lost = {run_id: item_id for run_id, item_id in old.items() if item_lease(item_id) not in held}
    if not lost:
        return 0
    async with resources.database.connection() as connection:
        return await _close(connection, lost)


async def _close(connection: AsyncConnection, lost: dict[UUID, UUID]) -> int:
    # A worker that is alive after all holds the rows that it is committing: they are stepped over, not waited for.
    free = select(PlaidItem.id).where(PlaidItem.id.in_(lost.values()))
    items = set(await connection.scalars(free.with_for_update(key_share=True, skip_locked=True)))
    running = select(SyncRun.id).where(
        SyncRun.id.in_([run_id for run_id, item_id in lost.items() if item_id in items]),
        SyncRun.status == RunStatus.RUNNING,
    )
    runs = list(await connection.scalars(running.with_for_update(skip_locked=True)))
    values = {
        "status": RunStatus.FAILED,
        "finished_at": func.clock_timestamp(),
        "error_type": "MANNA",
        "error_code": "WORKER_LOST",
    }
    await connection.execute(update(SyncRun).where(SyncRun.id.in_(runs)).values(values))
    # Not those that wait for somebody: their time is empty.
    waiting = (PlaidItem.id.in_([lost[run_id] for run_id in runs]), PlaidItem.next_sync_at.is_not(None))
    at = func.least(PlaidItem.next_sync_at, func.now())
    await connection.execute(update(PlaidItem).where(*waiting).values(next_sync_at=at))
    await connection.execute(delete(STAGED).where(STAGED.c.run_id.in_(runs)))
    log.warning("runs_of_lost_workers_closed", runs=len(runs))
    return len(runs)
