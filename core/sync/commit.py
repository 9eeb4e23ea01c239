"""The one short transaction: rows, cursor, run, Item health and audit event together, or nothing."""

from datetime import timedelta

from sqlalchemy import case, func, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import VersionConflictError
from core.identity import jittered
from core.locking import safe_cursor_update
from core.models import ItemStatus, PlaidItem, RunStatus, SyncRun
from core.resources import Resources
from core.sync.apply import apply_page
from core.sync.outcome import SUCCEEDED
from core.sync.pages import Pages
from core.sync.runs import OpenRun


async def commit_run(resources: Resources, run: OpenRun, pages: Pages) -> None:
    """Commit an update whole, if the Item is still at the version that the run read.

    Raises:
        VersionConflictError: somebody else committed first; nothing was written.
    """
    async with resources.database.transaction() as session:
        # First, for it locks the row: a rival waits here and then writes nothing, instead of writing rows in vain.
        if not await safe_cursor_update(session, run.item, pages.next_cursor):
            raise VersionConflictError
        for body in pages:
            await apply_page(session, run.item.id, body)
        await _close(session, run, pages)
        await _schedule(session, run, resources.settings.sync_interval_seconds)
        await log_audit_event(
            AuditEventType.ITEM_SYNCED,
            "An Item's changes were committed",
            session=session,
            context=_context(run, pages),
            resource=f"item:{run.item.id}",
        )
    run.outcome = SUCCEEDED


async def _close(session: AsyncSession, run: OpenRun, pages: Pages) -> None:
    values = {
        "status": RunStatus.SUCCEEDED,
        "finished_at": func.clock_timestamp(),
        "pages": pages.count,
        "added": pages.added,
        "modified": pages.modified,
        "removed": pages.removed,
        "restarts": pages.restarts,
        "committed_version": run.item.version,
        "plaid_request_id": pages.request_id,
        "error_type": None,
        "error_code": None,
    }
    await session.execute(update(SyncRun).where(SyncRun.id == run.id).values(values))


async def _schedule(session: AsyncSession, run: OpenRun, interval_seconds: int) -> None:
    # Whoever asked after the run began may ask for what its pages did not hold yet.
    asked_since = PlaidItem.sync_requested_at > run.started_at
    later = func.now() + timedelta(seconds=jittered(interval_seconds))
    values = {
        "status": ItemStatus.ACTIVE,
        "error_type": None,
        "error_code": None,
        "consecutive_failures": 0,
        "last_synced_at": func.clock_timestamp(),
        "next_sync_at": case((asked_since, func.now()), else_=later),
        "updated_at": func.now(),
    }
    await session.execute(
        update(PlaidItem).where(PlaidItem.id == run.item.id).values(values),
        execution_options={"synchronize_session": False},
    )


def _context(run: OpenRun, pages: Pages) -> AuditContext:
    return AuditContext(
        run_id=str(run.id),
        trigger=run.trigger.value,
        version=run.item.version,
        pages=pages.count,
        added=pages.added,
        modified=pages.modified,
        removed=pages.removed,
        restarts=pages.restarts,
        plaid_request_id=pages.request_id,
    )
