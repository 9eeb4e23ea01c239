"""Compares an Item's stored rows with a fresh pull of everything, tells where they drifted apart, and repairs it."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import TextClause, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import LockNotAcquiredError, RestartFromEmptyCursorError
from core.models import STAGED, RunStatus, SyncRun, SyncTrigger
from core.plaid.schemas import decode_page
from core.resources import Resources
from core.sync.changes import page_source
from core.sync.commit import commit_run
from core.sync.lease import lease_item
from core.sync.outcome import Outcome
from core.sync.pages import Pages, fetch_everything, fetch_pages
from core.sync.runs import OpenRun, failure_recorded, open_run
from core.sync.staging import stage_pages, unstage

COMPARE = """
WITH fresh AS (SELECT * FROM staged_transactions WHERE run_id = :run_id AND NOT gone),
stored AS (SELECT * FROM transactions WHERE item_id = :item_id AND removed_at IS NULL)
SELECT coalesce(fresh.transaction_id, stored.transaction_id) AS transaction_id,
    CASE WHEN stored.transaction_id IS NULL THEN 'missing' WHEN fresh.transaction_id IS NULL THEN 'extra'
        ELSE 'changed' END AS what,
    CASE WHEN stored.transaction_id IS NOT NULL AND fresh.transaction_id IS NOT NULL THEN ARRAY(
        SELECT key FROM jsonb_each(to_jsonb(fresh)) AS told
        WHERE key NOT IN ('run_id', 'gone') AND told.value IS DISTINCT FROM to_jsonb(stored) -> key ORDER BY key
    ) ELSE '{{}}' END AS columns
FROM fresh FULL JOIN stored ON stored.transaction_id = fresh.transaction_id
WHERE stored.transaction_id IS NULL OR fresh.transaction_id IS NULL
    OR ({fresh}) IS DISTINCT FROM ({stored})
ORDER BY 1
"""


class Difference(msgspec.Struct, frozen=True):
    """A transaction that is `missing`, `extra` or `changed`, and then in which columns."""

    transaction_id: str
    what: str
    columns: tuple[str, ...] = ()


class Found(NamedTuple):
    """How many transactions were compared, where they differ, and whether Plaid still takes the Item's cursor."""

    compared: int
    differences: tuple[Difference, ...]
    is_cursor_good: bool = True


@dataclass(frozen=True, slots=True)
class Drift:
    """What a reconcile found among `compared` transactions of Plaid's, and how its run ended.

    `outcome` is succeeded after a repair, skipped when there was nothing to repair or nobody asked for it, and failed,
    with nothing compared, for what Plaid or the network did.
    """

    item_id: UUID
    compared: int
    differences: tuple[Difference, ...]
    outcome: Outcome

    @property
    def repaired(self) -> bool:
        """Whether the rows now stand as Plaid has them."""
        return self.outcome.status is RunStatus.SUCCEEDED

    def count(self, what: str) -> int:
        """Return how many differences are of one kind."""
        return sum(one.what == what for one in self.differences)


async def reconcile(resources: Resources, item_id: UUID, *, repair: bool) -> Drift:
    """Compare an Item's standing rows with everything that Plaid has, and put them right if asked to.

    What has changed at the bank since the Item's cursor is no drift: the next sync brings it. Where Plaid refuses that
    cursor no sync will, so whatever differs is drift, and a repair gives the Item a new one. A repair is a commit like
    any other, with its version check, its run and its audit event; rows that Plaid does not have any more are
    tombstoned, none is deleted, so their history stays.

    Raises:
        NotFoundError: there is no such Item, or it was removed.
        LockNotAcquiredError: the Item is being synced just now.
    """
    async with lease_item(resources, item_id, SyncTrigger.SCHEDULED) as lease:
        if lease is None:
            raise LockNotAcquiredError
        run = await open_run(resources, item_id, SyncTrigger.MANUAL)
        found = Found(0, ())
        async with failure_recorded(resources, run):
            token, source = run.item.plaid_access_token, page_source(resources, run)
            with await fetch_everything(source, token, run.item.update_status) as everything:
                found = await _compare(resources, run, everything)
                lease.ensure_held()
                await _settle(resources, run, everything, found, repair=repair)
    return Drift(item_id, found.compared, found.differences, run.outcome)


async def _settle(resources: Resources, run: OpenRun, everything: Pages, found: Found, *, repair: bool) -> None:
    drift = len(found.differences)
    if repair and (drift or not found.is_cursor_good):
        await commit_run(resources, run, everything)
        what, resource = AuditEventType.ITEM_REPAIRED, f"item:{run.item.id}"
        context = AuditContext(run_id=str(run.id), drift=drift)
        message = "An Item's drift was repaired"
        await log_audit_event(what, message, database=resources.database, context=context, resource=resource)
        return
    run.outcome = Outcome.skipped("RECONCILED")
    values = {"status": RunStatus.SKIPPED, "finished_at": text("clock_timestamp()"), "error_code": "RECONCILED"}
    async with resources.database.transaction() as session:
        await session.execute(update(SyncRun).where(SyncRun.id == run.id).values(values))


async def _moved_since(resources: Resources, run: OpenRun) -> set[str]:
    """Return the transactions that changed at the bank after the Item's cursor.

    Raises:
        RestartFromEmptyCursorError: Plaid refuses that cursor, so nobody can tell.
    """
    if run.item.cursor is None:
        return set()
    moved: set[str] = set()
    source = page_source(resources, run)
    with await fetch_pages(source, run.item.plaid_access_token, run.item.cursor) as pages:
        for body in pages:
            page, _, _ = decode_page(body)
            moved |= {one.transaction_id for one in [*page.added, *page.modified]}
            moved |= {one.transaction_id for one in page.removed}
    return moved


async def _compare(resources: Resources, run: OpenRun, everything: Pages) -> Found:
    moved, is_cursor_good = set[str](), True
    try:
        moved = await _moved_since(resources, run)
    except RestartFromEmptyCursorError:
        is_cursor_good = False
    try:
        await stage_pages(resources.database, run.id, everything)
        async with resources.database.connection() as connection:
            different = await _differences(connection, run)
    finally:
        await unstage(resources.database, run.id)
    differences = tuple(one for one in different if one.transaction_id not in moved)
    return Found(everything.added + everything.modified, differences, is_cursor_good)


async def _differences(connection: AsyncConnection, run: OpenRun) -> list[Difference]:
    rows = await connection.execute(_statement(), {"run_id": run.id, "item_id": run.item.id})
    return [Difference(row.transaction_id, row.what, tuple(row.columns)) for row in rows]


@cache
def _statement() -> TextClause:
    names = [column.name for column in STAGED.columns if column.name not in {"run_id", "gone", "transaction_id"}]
    fresh, stored = (", ".join(f'{table}."{name}"' for name in names) for table in ("fresh", "stored"))
    return text(COMPARE.format(fresh=fresh, stored=stored))
