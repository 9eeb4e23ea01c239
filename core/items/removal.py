"""Removes Items: at once for us, and again and again at Plaid until Plaid agrees."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.outbox import SYSTEM
from core.broker.messages import RevokeItems
from core.errors import (
    EncryptionError,
    ItemIsGoneError,
    LockNotAcquiredError,
    NotFoundError,
    OperatorMustActError,
    RetryLaterError,
    SyncError,
    UserMustActError,
)
from core.items.attempts import claim_due, pause_seconds, try_each
from core.models import ItemRemoval, ItemStatus, PlaidItem
from core.plaid.endpoints import remove_item as remove_at_plaid
from core.resources import Resources
from core.sync.journal import forget_pages
from core.sync.token_settlement import REPLACED, open_intent, sealed_token, settle

log = structlog.get_logger()

# Which of them a removed Item's token gets is not documented; both say that there is nothing left to remove.
ALREADY_GONE = frozenset({"ITEM_NOT_FOUND", "INVALID_ACCESS_TOKEN"})


@dataclass(frozen=True, slots=True)
class DueRemoval:
    """A removal that is claimed by moving its next attempt, with the token as it was then: in clear, and as stored."""

    item_id: UUID
    attempts: int
    access_token: str | None = field(repr=False)
    sealed: str = field(repr=False)


async def remove_item(resources: Resources, item_id: UUID, actor: str) -> None:
    """Take an Item out of service now, and have Plaid forget it, however long that takes; its rows stay.

    Whoever asks twice changes nothing the second time.

    Raises:
        NotFoundError: there is no such Item.
    """
    async with resources.database.transaction() as session:
        locked = select(PlaidItem.status).where(PlaidItem.id == item_id).with_for_update(key_share=True)
        status = (await session.execute(locked)).scalar_one_or_none()
        if status is None:
            raise NotFoundError(f"there is no Item {item_id}")
        if status is not ItemStatus.REMOVED:
            await _take_out(session, item_id, actor)
    await resources.publisher.publish(RevokeItems())


async def _take_out(session: AsyncSession, item_id: UUID, actor: str) -> None:
    await log_audit_event(
        AuditEventType.ITEM_STATUS_CHANGED,
        "An Item was taken out of service",
        session=session,
        context=AuditContext(item_status=ItemStatus.REMOVED.value),
        actor=actor,
        resource=f"item:{item_id}",
    )
    # The version moves so that a sync under way commits nothing and cannot set the Item active again.
    values = {"status": ItemStatus.REMOVED, "next_sync_at": None, "version": PlaidItem.version + 1}
    await session.execute(
        update(PlaidItem).where(PlaidItem.id == item_id).values(**values, updated_at=func.now()),
        execution_options={"synchronize_session": False},
    )
    await request_removals(session, [item_id], actor)


async def request_removals(execute: AsyncSession | AsyncConnection, item_ids: Sequence[UUID], actor: str) -> None:
    """Note, in the caller's transaction, that Plaid shall forget these Items; what the journal has of them goes now."""
    await forget_pages(execute, item_ids)
    for item_id in item_ids:
        values = {"item_id": item_id, "requested_by": actor}
        await execute.execute(insert(ItemRemoval).values(values).on_conflict_do_nothing(index_elements=["item_id"]))


async def revoke_due(resources: Resources) -> int:
    """Try every removal that is due, each claimed before Plaid is called, and return for how many Plaid agreed."""
    agreed = 0
    while claimed := await _claim(resources):
        agreed += await try_each(partial(_revoke, resources), claimed)
    return agreed


async def _claim(resources: Resources) -> list[DueRemoval]:
    claim = claim_due(ItemRemoval, resources.settings, ItemRemoval.removed_at.is_(None))
    async with resources.database.transaction() as session:
        rows = (await session.execute(claim)).all()
        return [DueRemoval(*row, *await _reveal(session, row.item_id)) for row in rows]


async def _reveal(session: AsyncSession, item_id: UUID) -> tuple[str | None, str]:
    await log_audit_event(
        AuditEventType.TOKEN_DECRYPTED,
        "An access token is decrypted for a removal",
        session=session,
        context=AuditContext(reason="removal"),
        resource=f"item:{item_id}",
    )
    item = await session.get_one(PlaidItem, item_id)
    try:
        return item.plaid_access_token, sealed_token(item)
    except EncryptionError:
        return None, sealed_token(item)


async def _revoke(resources: Resources, removal: DueRemoval) -> bool:
    try:
        if removal.access_token is None:
            raise OperatorMustActError("DECRYPTION_FAILED")
        await remove_at_plaid(resources.plaid, removal.access_token)
    except SyncError as error:
        told: SyncError | None = error
        if isinstance(error, ItemIsGoneError) or error.error_code in ALREADY_GONE:
            told = await _close_dead(resources, removal, error)
        if told is not None:
            await _postpone(resources, removal, told)
        return told is None
    async with resources.database.transaction() as session:
        await _close(session, await _locked(session, removal))
    return True


async def _close_dead(resources: Resources, removal: DueRemoval, error: SyncError) -> SyncError | None:
    """Close the removal of an Item whose token is dead; return why not, if another token lives or may yet.

    A rotation that put another in its place leaves the Item alive at Plaid, and the new token is the only one that can
    end it. While it is under way it holds the Item's lease; what a crash left of it is settled here.
    """
    try:
        async with resources.lease(removal.item_id):
            await settle(resources, await open_intent(resources, removal.item_id, SYSTEM, any_status=True))
    except LockNotAcquiredError:
        return error
    except UserMustActError:
        # Its new token is lost: nobody has one that lives, and nothing could be tried again.
        log.warning("removal_without_token", item_id=str(removal.item_id), error_code=error.error_code)
    except SyncError as unsettled:
        return unsettled
    async with resources.database.transaction() as session:
        item = await _locked(session, removal)
        if sealed_token(item) != removal.sealed:
            return RetryLaterError(REPLACED, request_id=error.request_id)
        await _close(session, item)
    return None


async def _locked(session: AsyncSession, removal: DueRemoval) -> PlaidItem:
    return await session.get_one(PlaidItem, removal.item_id, with_for_update={"key_share": True})


async def _close(session: AsyncSession, item: PlaidItem) -> None:
    # Dead at Plaid; here it is overwritten as well, so that no backup from now on holds it.
    item.plaid_access_token = ""
    done = update(ItemRemoval).where(ItemRemoval.item_id == item.id, ItemRemoval.removed_at.is_(None))
    await session.execute(done.values(removed_at=func.now(), error_code=None))
    await log_audit_event(
        AuditEventType.ITEM_REMOVED, "Plaid has forgotten an Item", session=session, resource=f"item:{item.id}"
    )


async def _postpone(resources: Resources, removal: DueRemoval, error: SyncError) -> None:
    seconds = pause_seconds(removal.attempts, error)
    log.warning("removal_postponed", item_id=str(removal.item_id), error_code=error.error_code, seconds=int(seconds))
    async with resources.database.transaction() as session:
        mine = (ItemRemoval.item_id == removal.item_id, ItemRemoval.attempts == removal.attempts)
        values = {"next_attempt_at": func.now() + timedelta(seconds=seconds), "error_code": error.error_code}
        await session.execute(update(ItemRemoval).where(*mine).values(values))
