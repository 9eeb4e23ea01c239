"""The one short transaction: rows, cursor, run, Item health and audit event together, or nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit import AuditContext, AuditEventType
from core.audit.outbox import Event, log_audit_events
from core.database import Database
from core.errors import RetryLaterError, VersionConflictError
from core.models import PlaidItem
from core.resources import Resources
from core.sync.apply import apply_pages
from core.sync.away import patient
from core.sync.breaker import count_success
from core.sync.outcome import Outcome, Work
from core.sync.pages import Pages
from core.sync.quarantine import is_unstorable, keep_rejected, sift
from core.sync.runs import OpenRun
from core.sync.schedule import seconds_until_next
from core.sync.staging import Staged, move_staged, stage_pages, unstage
from core.telemetry import tracing

# Beyond this many pages (10,000 transactions) the rows are made before the transaction that shows them.
STAGED_PAGES = 20
# A page on its way to PostgreSQL: as bytes, as text, as a parameter, as a message.
COPIES = 4
# An update of one page up to this size is committed together with those of other Items.
SHARED_BYTES = 64 * 1024

# The version check is the guarantee (core.locking.optimistic): of any number of runs that read one version exactly
# one moves it. First in the transaction, for it locks the row: a rival waits here and then writes nothing, instead of
# writing rows in vain. Whoever asked after a run began may ask for what its pages did not hold yet: due at once.
MOVE = """
WITH asked AS (
    SELECT * FROM unnest(
        CAST(:item_ids AS uuid[]), CAST(:run_ids AS uuid[]), CAST(:versions AS int[]), CAST(:cursors AS text[]),
        CAST(:rests AS float8[]), CAST(:started AS timestamptz[]), CAST(:update_statuses AS text[]),
        CAST(:pages AS int[]), CAST(:added AS int[]), CAST(:modified AS int[]), CAST(:removed AS int[]),
        CAST(:restarts AS int[]), CAST(:quarantined AS int[]), CAST(:full_pulls AS bool[]),
        CAST(:request_ids AS text[])
    ) AS asked (
        item_id, run_id, read_version, next_cursor, rest, began_at, told_status,
        pages, added, modified, removed, restarts, quarantined, full_pull, request_id
    )
),
moved AS (
    UPDATE plaid_items AS item SET
        cursor = coalesce(asked.next_cursor, item.cursor),
        version = item.version + 1,
        status = 'active', error_type = NULL, error_code = NULL, consecutive_failures = 0, parked_at = NULL,
        update_status = coalesce(asked.told_status, item.update_status),
        full_pull_at = CASE WHEN asked.full_pull THEN now() ELSE item.full_pull_at END,
        last_synced_at = clock_timestamp(),
        next_sync_at = CASE WHEN item.sync_requested_at > asked.began_at THEN now()
            ELSE now() + make_interval(secs => asked.rest) END,
        updated_at = now()
    FROM asked WHERE item.id = asked.item_id AND item.version = asked.read_version
        -- Nobody brings an Item back that was removed while its pages were fetched.
        AND item.status NOT IN ('revoked', 'removed')
    RETURNING asked.run_id, item.version
)
UPDATE sync_runs AS run SET
    status = 'succeeded', finished_at = clock_timestamp(), committed_version = moved.version,
    pages = asked.pages, added = asked.added, modified = asked.modified, removed = asked.removed,
    restarts = asked.restarts, quarantined = asked.quarantined, full_pull = asked.full_pull,
    plaid_request_id = asked.request_id, error_type = NULL, error_code = NULL
FROM asked JOIN moved USING (run_id)
WHERE run.id = run_id
RETURNING run.id
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """An update to be committed for a run, and how long its Item may rest afterwards."""

    run: OpenRun
    pages: Pages
    rest_seconds: float

    @property
    def item(self) -> PlaidItem:
        """The Item as the run read it."""
        return self.run.item

    @property
    def event(self) -> Event:
        """The record of this commit."""
        pages = self.pages
        context = AuditContext(
            run_id=str(self.run.id),
            trigger=self.run.trigger.value,
            version=self.item.version + 1,
            pages=pages.count,
            added=pages.added,
            modified=pages.modified,
            removed=pages.removed,
            restarts=pages.restarts,
            plaid_request_id=pages.request_id,
            reason="full_pull" if pages.is_full_pull else None,
        )
        what = AuditEventType.ITEM_SYNCED
        return Event(what, "An Item's changes were committed", context, resource=f"item:{self.item.id}")


async def commit_run(resources: Resources, run: OpenRun, pages: Pages) -> None:
    """Commit an update whole, if the Item is still at the version that the run read.

    Small updates of several Items share a transaction, each with a version check of its own; large ones are staged
    first, so that the transaction which moves them stays short. What PostgreSQL cannot take is put into quarantine,
    and the rest is committed without it.

    Raises:
        VersionConflictError: somebody else committed or removed the Item first; nothing was written.
        RetryLaterError: `UNSTORABLE_ANSWER`: no entry of it can be blamed.
    """
    interval = resources.settings.sync_interval_seconds
    commit = Commit(run, pages, seconds_until_next(run.item, pages.update_status, run.started_at, interval))
    work = Work(pages.count, pages.added, pages.modified, pages.removed, pages.restarts)
    with tracing.span("commit", pages=work.pages, added=work.added, modified=work.modified, removed=work.removed):
        try:
            await _store(resources, commit)
        except DBAPIError as error:
            if not is_unstorable(error):
                raise
            await _store_sifted(resources, commit)
    run.outcome = Outcome.committed(work)


async def _store_sifted(resources: Resources, commit: Commit) -> None:
    await sift(resources.database, commit.pages)
    try:
        await _store(resources, commit)
    except DBAPIError as error:
        if not is_unstorable(error):
            raise
        raise RetryLaterError("UNSTORABLE_ANSWER", request_id=commit.pages.request_id) from None


async def _store(resources: Resources, commit: Commit) -> None:
    pages = commit.pages
    is_staged = pages.is_full_pull or pages.kept > STAGED_PAGES
    if pages.kept <= 1 and pages.bytes <= SHARED_BYTES and not (is_staged or pages.rejected):
        await resources.together(_commit_shared, commit)
        return
    write = _commit_staged if is_staged else _commit_alone
    # Before a connection is taken: whoever waits for memory holds nothing that others wait for.
    async with resources.memory.held(pages.largest * COPIES):
        await write(resources.database, commit)


@patient
async def _commit_shared(database: Database, commits: Sequence[Commit]) -> Sequence[VersionConflictError | None]:
    return await _transact(database, commits, _apply_at_once)


@patient
async def _commit_alone(database: Database, commit: Commit) -> None:
    (lost,) = await _transact(database, [commit], _apply_in_turn)
    if lost is not None:
        raise lost


@patient
async def _commit_staged(database: Database, commit: Commit) -> None:
    try:
        staged = await stage_pages(database, commit.run.id, commit.pages)
        (lost,) = await _transact(database, [commit], partial(_apply_staged, staged))
    finally:
        await unstage(database, commit.run.id)
    if lost is not None:
        raise lost


async def _transact(
    database: Database, commits: Sequence[Commit], write: Callable[[AsyncConnection, list[Commit]], Awaitable[None]]
) -> list[VersionConflictError | None]:
    async with database.connection() as connection:
        moved = {run_id for (run_id,) in await connection.execute(text(MOVE), _columns(commits))}
        won = [commit for commit in commits if commit.run.id in moved]
        await write(connection, won)
        await log_audit_events(connection, [commit.event for commit in won])
        if answered := [commit.item.institution_id for commit in won if not commit.pages.is_recorded]:
            await count_success(connection, answered)
    return [None if commit.run.id in moved else VersionConflictError() for commit in commits]


async def _apply_at_once(connection: AsyncConnection, commits: list[Commit]) -> None:
    pages = [(commit.item.id, body) for commit in commits for body in commit.pages]
    if pages:
        await apply_pages(connection, pages)


async def _apply_in_turn(connection: AsyncConnection, commits: list[Commit]) -> None:
    for commit in commits:
        for body in commit.pages:
            await apply_pages(connection, [(commit.item.id, body)])
        await keep_rejected(connection, commit.item.id, commit.run.id, commit.pages.rejected)


async def _apply_staged(staged: Staged, connection: AsyncConnection, commits: list[Commit]) -> None:
    for commit in commits:
        full = commit.pages.is_full_pull
        await move_staged(connection, commit.item.id, commit.run.id, staged, is_full_pull=full)
        await apply_pages(connection, [(commit.item.id, staged.accounts)])
        await keep_rejected(connection, commit.item.id, commit.run.id, commit.pages.rejected)


def _columns(commits: Sequence[Commit]) -> dict[str, list[Any]]:
    runs, pages = [commit.run for commit in commits], [commit.pages for commit in commits]
    return {
        "item_ids": [run.item.id for run in runs],
        "run_ids": [run.id for run in runs],
        "versions": [run.item.version for run in runs],
        "started": [run.started_at for run in runs],
        "rests": [commit.rest_seconds for commit in commits],
        "cursors": [one.next_cursor for one in pages],
        "update_statuses": [one.update_status for one in pages],
        "pages": [one.count for one in pages],
        "added": [one.added for one in pages],
        "modified": [one.modified for one in pages],
        "removed": [one.removed for one in pages],
        "restarts": [one.restarts for one in pages],
        "quarantined": [len(one.rejected) for one in pages],
        "full_pulls": [one.is_full_pull for one in pages],
        "request_ids": [one.request_id for one in pages],
    }
