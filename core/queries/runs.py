from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from core.database import Database
from core.errors import NotFoundError
from core.models import PlaidItem, RunStatus, SyncRun, SyncTrigger
from core.queries.pages import Page, fetch_page
from core.sync.explanation import Explanation, explain

WITH_ITEM = (
    SyncRun.__table__,
    PlaidItem.institution_id,
    PlaidItem.status.label("item_status"),
    PlaidItem.consecutive_failures,
    PlaidItem.last_synced_at,
    PlaidItem.next_sync_at,
    PlaidItem.parked_at,
)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a run must fit; None fits all. `since` is included, `until` is not."""

    item_id: UUID | None = None
    status: RunStatus | None = None
    trigger: SyncTrigger | None = None
    error_code: str | None = None
    institution_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error_type: str | None = None


async def find_runs(database: Database, wanted: RunFilter, limit: int, cursor: str | None = None) -> Page:
    """Return a page of the run history; ids are in order of time, so they lead."""
    query = select(SyncRun.__table__)
    for name in ("item_id", "status", "trigger", "error_code", "error_type"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(SyncRun, name) == value)
    if wanted.institution_id is not None:
        of_bank = select(PlaidItem.id).where(PlaidItem.institution_id == wanted.institution_id)
        query = query.where(SyncRun.item_id.in_(of_bank))
    if wanted.since is not None:
        query = query.where(SyncRun.started_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(SyncRun.started_at < wanted.until)
    return await fetch_page(database, query, [SyncRun.id], limit, cursor)


async def read_run(database: Database, run_id: UUID) -> dict[str, Any]:
    """Return one run.

    Raises:
        NotFoundError: there is no such run.
    """
    async with database.connection() as connection:
        found = (await connection.execute(select(SyncRun.__table__).where(SyncRun.id == run_id))).first()
    if found is None:
        raise NotFoundError(f"there is no run {run_id}")
    return dict(found._mapping)


async def explain_run(database: Database, run_id: UUID) -> tuple[dict[str, Any], Explanation | None]:
    """Return a run with what is known of its Item, and, of a failed one, what it means.

    Raises:
        NotFoundError: there is no such run.
    """
    query = select(*WITH_ITEM).join(PlaidItem, PlaidItem.id == SyncRun.item_id).where(SyncRun.id == run_id)
    async with database.connection() as connection:
        found = (await connection.execute(query)).first()
    if found is None:
        raise NotFoundError(f"there is no run {run_id}; `manna syncs list` shows those that there are")
    run = dict(found._mapping)
    return run, explain(run)
