"""The run history: what was tried, for whom, and how it ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from core.database import Database
from core.errors import NotFoundError
from core.models import PlaidItem, RunStatus, SyncRun

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
    """What a run must fit; a field left out fits all."""

    status: RunStatus | None = None
    error_code: str | None = None
    institution_id: str | None = None
    since: datetime | None = None


async def list_runs(database: Database, wanted: RunFilter, limit: int = 100) -> list[dict[str, Any]]:
    """Return up to `limit` runs, newest first, each with what is known of its Item; times are UTC."""
    # Ids are in order of time, and their index is there whatever the filter is.
    query = _runs().order_by(SyncRun.id.desc()).limit(limit)
    if wanted.status is not None:
        query = query.where(SyncRun.status == wanted.status)
    if wanted.error_code is not None:
        query = query.where(SyncRun.error_code == wanted.error_code)
    if wanted.institution_id is not None:
        query = query.where(PlaidItem.institution_id == wanted.institution_id)
    if wanted.since is not None:
        query = query.where(SyncRun.started_at >= wanted.since)
    async with database.connection() as connection:
        return [dict(row._mapping) for row in await connection.execute(query)]


async def show_run(database: Database, run_id: UUID) -> dict[str, Any]:
    """Return a run with what is known of its Item.

    Raises:
        NotFoundError: there is no such run.
    """
    async with database.connection() as connection:
        found = (await connection.execute(_runs().where(SyncRun.id == run_id))).first()
    if found is None:
        raise NotFoundError(f"there is no run {run_id}; `manna syncs list` shows those that there are")
    return dict(found._mapping)


def _runs() -> Select[*tuple[Any, ...]]:
    return select(*WITH_ITEM).join(PlaidItem, PlaidItem.id == SyncRun.item_id)
