"""The run: opened before the token is revealed, and closed whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import EncryptionError, NotFoundError, OperatorMustActError, RetryLaterError, SyncError
from core.identity import new_id
from core.models import ItemStatus, PlaidItem, RunStatus, SyncRun, SyncTrigger
from core.resources import Resources
from core.sync.health import health_after
from core.sync.outcome import Outcome

log = structlog.get_logger()

GONE = frozenset({ItemStatus.REVOKED, ItemStatus.REMOVED})


@dataclass(slots=True)
class OpenRun:
    """A run under way, the Item as it was read for it, and how it ended once it has."""

    id: UUID
    item: PlaidItem
    trigger: SyncTrigger
    started_at: datetime
    outcome: Outcome


async def open_run(resources: Resources, item_id: UUID, trigger: SyncTrigger) -> OpenRun:
    """Read the Item and record, before its token is revealed, that it will be and what for.

    Until the run ends the Item is due again as soon as a dead worker's lease has run out.

    Raises:
        NotFoundError: no such Item, or one whose access is gone for good.
    """
    hold = timedelta(seconds=resources.settings.sync_lock_ttl_seconds)
    async with resources.database.transaction() as session:
        item = await session.get(PlaidItem, item_id)
        if item is None or item.status in GONE:
            raise NotFoundError(f"there is no Item {item_id} to sync")
        run = SyncRun(id=new_id(), item_id=item_id, trigger=trigger, attempt=item.consecutive_failures + 1)
        session.add(run)
        await _close_lost_runs(session, item_id, hold)
        await session.execute(
            update(PlaidItem).where(PlaidItem.id == item_id).values(next_sync_at=func.now() + hold),
            execution_options={"synchronize_session": False},
        )
        await log_audit_event(
            AuditEventType.TOKEN_DECRYPTED,
            "An access token is decrypted for a sync",
            session=session,
            context=AuditContext(run_id=str(run.id), trigger=trigger.value),
            resource=f"item:{item_id}",
        )
        await session.flush()
        await session.refresh(run, ["started_at"])
    return OpenRun(run.id, item, trigger, run.started_at, Outcome(RunStatus.RUNNING))


@asynccontextmanager
async def failure_recorded(resources: Resources, run: OpenRun) -> AsyncIterator[None]:
    """Close the run and set the Item's health when the body fails; only what is no `SyncError` goes on."""
    try:
        yield
    except SyncError as error:
        await _fail(resources, run, error)
    except EncryptionError:
        await _fail(resources, run, OperatorMustActError("DECRYPTION_FAILED"))
    except (asyncio.CancelledError, TimeoutError):
        await asyncio.shield(_fail(resources, run, RetryLaterError("TIME_LIMIT_REACHED")))
        raise
    except Exception as error:
        await _fail(resources, run, RetryLaterError(type(error).__name__, error_type="UNEXPECTED"))
        raise


async def _close_lost_runs(session: AsyncSession, item_id: UUID, hold: timedelta) -> None:
    lost = (
        SyncRun.item_id == item_id,
        SyncRun.status == RunStatus.RUNNING,
        SyncRun.started_at < func.now() - hold,
    )
    values = {
        "status": RunStatus.FAILED,
        "finished_at": func.now(),
        "error_type": "MANNA",
        "error_code": "WORKER_LOST",
    }
    await session.execute(update(SyncRun).where(*lost).values(values), execution_options={"synchronize_session": False})


async def _fail(resources: Resources, run: OpenRun, error: SyncError) -> None:
    run.outcome = Outcome.of(error)
    facts = {"error_type": error.error_type, "error_code": error.error_code}
    log.warning("sync_ended", item_id=str(run.item.id), run_id=str(run.id), status=run.outcome.status.value, **facts)
    async with resources.database.transaction() as session:
        values = {
            **facts,
            "status": run.outcome.status,
            "finished_at": func.clock_timestamp(),
            "plaid_request_id": error.request_id,
        }
        await session.execute(update(SyncRun).where(SyncRun.id == run.id).values(values))
        if run.outcome.status is RunStatus.FAILED:
            await _set_health(session, run, error)


async def _set_health(session: AsyncSession, run: OpenRun, error: SyncError) -> None:
    health = health_after(error, run.item.consecutive_failures, run.item.status)
    # Not over the head of a rival that succeeded meanwhile.
    unchanged = (PlaidItem.id == run.item.id, PlaidItem.version == run.item.version)
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
