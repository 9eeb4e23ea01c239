"""Applies the recorded pages of a failed run, without Plaid: through the same commit, and never behind newer data.

Pages follow one version of their Item. While it stands at that version, nothing was committed since, and applying them
is what the run itself would have done. At any other version they would take the Item back; then Plaid is to be asked.
"""

import zlib
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import and_, func, insert, select, update

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.database import Database
from core.errors import EncryptionError, NotFoundError, OperatorMustActError, PagesNotReplayableError
from core.identity import new_id
from core.models import JournalPage, PlaidItem, ReplayItem, ReplayState, RunStatus, SyncRun, SyncTrigger
from core.models.journal_page import HEAD
from core.resources import Resources
from core.sync.commit import commit_run
from core.sync.journal import Place, read_pages
from core.sync.lease import lease_item
from core.sync.outcome import Outcome
from core.sync.pages import Pages
from core.sync.replay.selection import DAY, GONE
from core.sync.runs import OpenRun, failure_recorded

log = structlog.get_logger()

INSTEAD = "replay it without the journal, and Plaid is asked"


async def apply_recorded(resources: Resources, run_id: UUID) -> Outcome:
    """Commit what a failed run had fetched, as a run of its own; afterwards the Item is due, for what is newer.

    Whoever runs it twice changes nothing the second time.

    Raises:
        PagesNotReplayableError: there are no pages, or they are not the next ones; the Item is as it was.
        NotFoundError: there is no such run.
        RedisError, DBAPIError: Redis or PostgreSQL is away.
    """
    place = await find_pages(resources.database, run_id)
    async with lease_item(resources, place.item_id, SyncTrigger.REPLAY) as lease:
        if lease is None:
            return Outcome.skipped("LOCK_NOT_FREE")
        run = await _open_run(resources, place)
        async with failure_recorded(resources, run):
            with await _read(resources.database, place) as pages:
                lease.ensure_held()
                await commit_run(resources, run, pages)
    return run.outcome


async def find_pages(database: Database, run_id: UUID) -> Place:
    """Return where the pages of a failed run stand that may be applied.

    Raises:
        PagesNotReplayableError: with why, and what to do instead.
        NotFoundError: there is no such run.
    """
    run, item, page = SyncRun, PlaidItem, JournalPage
    head = (page.item_id == run.item_id, page.run_id == run.id, page.page == HEAD, page.recorded_on == DAY)
    query = (
        select(run.item_id, run.status, item.status.label("item_status"), item.version, page.recorded_on)
        .add_columns(page.version.label("follows"))
        .join(item, item.id == run.item_id)
        .outerjoin(page, and_(*head))
    )
    async with database.connection() as connection:
        found = (await connection.execute(query.where(run.id == run_id))).first()
    if found is None:
        raise NotFoundError(f"there is no run {run_id}; `manna syncs list --status failed` shows those that failed")
    if found.item_status in GONE:
        raise PagesNotReplayableError(f"the Item of the run {run_id} is {found.item_status}: nothing is kept of it")
    if found.status is not RunStatus.FAILED:
        raise PagesNotReplayableError(f"the run {run_id} did not fail, it is {found.status}: nothing is to be replayed")
    if found.follows is None:
        raise PagesNotReplayableError(
            f"no pages of the run {run_id} are kept: it failed before it had all of them, or PAGE_JOURNAL_DAYS was 0 or"
            f" is past; {INSTEAD}"
        )
    if found.follows != found.version:
        raise PagesNotReplayableError(
            f"the Item was changed since the run {run_id} (version {found.follows} then, {found.version} now), and its"
            f" pages would take it back; {INSTEAD}"
        )
    return Place(found.item_id, run_id, found.recorded_on, found.follows)


async def _open_run(resources: Resources, place: Place) -> OpenRun:
    """Open a run on the version that the pages follow, and record that they are opened and for whom."""
    unchanged = (PlaidItem.id == place.item_id, PlaidItem.version == place.version, PlaidItem.status.not_in(GONE))
    async with resources.database.transaction() as session:
        # Somebody asked: once it has ended, the Item is due for what is newer than the pages.
        asked = update(PlaidItem).where(*unchanged).values(sync_requested_at=func.clock_timestamp())
        await session.execute(asked, execution_options={"synchronize_session": False})
        item = (await session.scalars(select(PlaidItem).where(*unchanged))).one_or_none()
        if item is None:
            raise PagesNotReplayableError(f"the Item was changed since the run {place.run_id}; {INSTEAD}")
        began = (await session.execute(select(SyncRun.started_at).where(SyncRun.id == place.run_id))).scalar_one()
        # As of the pages' own run: whoever asked after that may know what they do not hold.
        run = OpenRun(new_id(), item, SyncTrigger.REPLAY, began, is_held_back=False)
        values = {"id": run.id, "item_id": item.id, "trigger": run.trigger, "status": RunStatus.RUNNING}
        await session.execute(insert(SyncRun).values(**values, attempt=item.consecutive_failures + 1))
        await log_audit_event(
            AuditEventType.PAGES_REPLAYED,
            "Recorded pages are opened to be applied again",
            session=session,
            context=AuditContext(run_id=str(place.run_id), trigger=run.trigger.value),
            resource=f"item:{item.id}",
        )
    return run


async def _read(database: Database, place: Place) -> Pages:
    try:
        return await read_pages(database, place)
    except (EncryptionError, zlib.error, msgspec.MsgspecError):
        raise OperatorMustActError("JOURNAL_UNREADABLE") from None


async def refuse(database: Database, run_id: UUID) -> None:
    """Close the part of a run's Item in its replay as failed, unless it was synced since it was sent."""
    row = ReplayItem
    is_open = (row.run_id == run_id, row.state == ReplayState.SENT)
    synced = select(PlaidItem.id).where(PlaidItem.id == row.item_id, PlaidItem.last_synced_at >= row.sent_at)
    values = {"state": ReplayState.FAILED, "error_code": "PAGES_NOT_REPLAYABLE", "ended_at": func.now()}
    async with database.connection() as connection:
        await connection.execute(update(row).where(*is_open, ~synced.exists()).values(values))
    log.warning("pages_not_replayable", run_id=str(run_id))
