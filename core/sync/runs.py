"""The run: opened before the token is revealed, and closed whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.outbox import Event, log_audit_events
from core.away import is_database_away
from core.database import Database
from core.errors import EncryptionError, NotFoundError, OperatorMustActError, RetryLaterError, SyncError, Verdict
from core.identity import new_id
from core.models import ItemStatus, PlaidItem, RunStatus, SyncRun, SyncTrigger
from core.resources import Resources
from core.sync.away import patient
from core.sync.breaker import count_failure, open_breakers
from core.sync.health import health_after
from core.sync.outcome import Outcome
from core.sync.token_settlement import LOST, OLD_TOKEN_IS_DEAD, REPLACED, explained, sealed_token
from core.telemetry import tracing

log = structlog.get_logger()

GONE = frozenset({ItemStatus.REVOKED, ItemStatus.REMOVED})


@dataclass(slots=True)
class OpenRun:
    """A run under way, the Item as it was read for it, and how it ended once it has.

    `is_held_back` tells that a breaker is open: nothing was recorded, no token may be revealed, the Item comes back.
    """

    id: UUID
    item: PlaidItem
    trigger: SyncTrigger
    started_at: datetime
    is_held_back: bool
    outcome: Outcome = field(default_factory=lambda: Outcome(RunStatus.RUNNING))


async def open_run(resources: Resources, item_id: UUID, trigger: SyncTrigger) -> OpenRun:
    """Read the Item and record, before its token is revealed, that it will be and what for.

    Raises:
        NotFoundError: no such Item, or one whose access is gone for good.
    """
    run = await resources.together(open_runs, (item_id, trigger))
    if not run.is_held_back:
        # For every line and span from here to the end of the sync, which is a task of its own.
        structlog.contextvars.bind_contextvars(run_id=str(run.id))
        tracing.note(run_id=str(run.id))
    return run


@patient
async def open_runs(database: Database, asked: Sequence[tuple[UUID, SyncTrigger]]) -> list[OpenRun | Exception]:
    """Open several runs in one transaction; each is there with the record of its decryption, or not at all."""
    async with database.transaction() as session:
        breakers = await open_breakers(session)
        found = await session.scalars(select(PlaidItem).where(PlaidItem.id.in_({item_id for item_id, _ in asked})))
        items = {item.id: item for item in found}
        started_at = (await session.execute(select(func.now()))).scalar_one()
        results: list[OpenRun | Exception] = []
        for item_id, trigger in asked:
            item = items.get(item_id)
            if item is None or item.status in GONE:
                results.append(NotFoundError(f"there is no Item {item_id} to sync"))
            else:
                # A person who asks is the best of probes.
                held = trigger is not SyncTrigger.MANUAL and breakers.holds(item)
                results.append(OpenRun(new_id(), item, trigger, started_at, held))
        await _record(session, [run for run in results if isinstance(run, OpenRun) and not run.is_held_back])
    return results


async def _record(session: AsyncSession, runs: list[OpenRun]) -> None:
    if not runs:
        return
    rows = [
        {
            "id": run.id,
            "item_id": run.item.id,
            "trigger": run.trigger,
            "status": RunStatus.RUNNING,
            "started_at": run.started_at,
            "attempt": run.item.consecutive_failures + 1,
        }
        for run in runs
    ]
    await session.execute(insert(SyncRun), rows)
    events = [
        Event(
            AuditEventType.TOKEN_DECRYPTED,
            "An access token is decrypted for a sync",
            AuditContext(run_id=str(run.id), trigger=run.trigger.value),
            resource=f"item:{run.item.id}",
        )
        for run in runs
    ]
    await log_audit_events(session, events)


@asynccontextmanager
async def failure_recorded(resources: Resources, run: OpenRun) -> AsyncIterator[None]:
    """Close the run and set the Item's health when the body fails; only what is no `SyncError` goes on."""
    try:
        yield
    except SyncError as error:
        await _fail(resources.database, run, await explained(resources, run.item.id, error))
    except EncryptionError:
        await _fail(resources.database, run, OperatorMustActError("DECRYPTION_FAILED"))
    except (asyncio.CancelledError, TimeoutError):
        await asyncio.shield(_fail(resources.database, run, RetryLaterError("TIME_LIMIT_REACHED")))
        raise
    except Exception as error:
        # While PostgreSQL is away nothing can be written down: the sweep finds the run, and the Item does not pay.
        if not is_database_away(error):
            await _fail(resources.database, run, RetryLaterError(type(error).__name__, error_type="UNEXPECTED"))
        raise


@patient
async def _fail(database: Database, run: OpenRun, error: SyncError) -> None:
    async with database.transaction() as session:
        # In the order of a commit, Item first: one that is under way in another task is waited for, never a deadlock.
        locked = select(PlaidItem.plaid_access_token).where(PlaidItem.id == run.item.id)
        sealed = await session.scalar(locked.with_for_update(key_share=True))
        if error.error_code in {LOST, *OLD_TOKEN_IS_DEAD} and sealed != sealed_token(run.item):
            # A rotation that went on beside this run has stored another token: nothing is known against that one.
            error = RetryLaterError(REPLACED, request_id=error.request_id)
        run.outcome = Outcome.of(error)
        facts = {"error_type": error.error_type, "error_code": error.error_code}
        what = {"item_id": str(run.item.id), "run_id": str(run.id), "status": run.outcome.status.value}
        log.warning("sync_ended", **what, **facts)
        if await session.scalar(select(SyncRun.status).where(SyncRun.id == run.id)) is RunStatus.SUCCEEDED:
            # It was committed, and the answer alone was lost or not waited for.
            return
        values = {
            **facts,
            "status": run.outcome.status,
            "finished_at": func.clock_timestamp(),
            "plaid_request_id": error.request_id,
        }
        unfinished = (SyncRun.id == run.id, SyncRun.status == RunStatus.RUNNING)
        await session.execute(update(SyncRun).where(*unfinished).values(values))
        if run.outcome.status is RunStatus.FAILED:
            await count_failure(session, error, run.item.institution_id)
            await _set_health(session, run, error)


async def _set_health(session: AsyncSession, run: OpenRun, error: SyncError) -> None:
    health = health_after(error, run.item.consecutive_failures, run.item.status)
    # Whoever was parked and failed for a reason of its own waits for that now, and is not tried for its bank again.
    health["parked_at"] = func.now() if error.verdict is Verdict.INSTITUTION_IS_DOWN else None
    # Not over the head of a rival that succeeded meanwhile.
    unchanged = (PlaidItem.id == run.item.id, PlaidItem.version == run.item.version, PlaidItem.status.not_in(GONE))
    # Whoever asked after the run began may know better than it does: the user has logged in, Plaid has more to say.
    is_asked = PlaidItem.sync_requested_at > run.started_at
    health["next_sync_at"] = case((is_asked, func.now()), else_=health["next_sync_at"])
    await session.execute(
        update(PlaidItem).where(*unchanged).values(**health, updated_at=func.now()),
        execution_options={"synchronize_session": False},
    )
    context = AuditContext(
        run_id=str(run.id),
        trigger=run.trigger.value,
        error_type=error.error_type,
        error_code=error.error_code,
        verdict=error.verdict.value,
        plaid_request_id=error.request_id,
    )
    resource = f"item:{run.item.id}"
    await log_audit_event(
        AuditEventType.SYNC_FAILED, "A sync failed", session=session, context=context, resource=resource
    )
