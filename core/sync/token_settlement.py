"""How a replacement of an access token ended that a crash left open: found out, and put down.

Above it `core.items.token_rotation` replaces tokens and settles before it asks; below it a sync that is told that its
token is dead settles as well, so that an Item whose new token was lost is not taken for one that is gone.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.outbox import SYSTEM
from core.encryption.column import sealed_values
from core.errors import NotFoundError, RetryLaterError, SyncError, UserMustActError
from core.models import ItemRemoval, ItemStatus, PlaidItem, TokenRotation, TokenRotationStatus
from core.resources import Resources

LOOK = "/item/get"
# Which of the two a replaced token gives is not published.
OLD_TOKEN_IS_DEAD = frozenset({"INVALID_ACCESS_TOKEN", "ITEM_NOT_FOUND"})
LOST = "ACCESS_TOKEN_LOST"
REPLACED = "ACCESS_TOKEN_REPLACED"
GONE = frozenset({ItemStatus.REVOKED, ItemStatus.REMOVED})


@dataclass(frozen=True, slots=True)
class OpenRotation:
    """A rotation whose intent is committed, with the token that it replaces, and that token as it is stored."""

    id: UUID
    item_id: UUID
    actor: str
    token: str = field(repr=False)
    sealed: str = field(repr=False)


async def explained(resources: Resources, item_id: UUID, error: SyncError) -> SyncError:
    """Return what a sync's failure really means: its own error, unless a rotation that was left open explains it.

    The caller holds the Item's lease.
    """
    if error.error_code not in OLD_TOKEN_IS_DEAD:
        return error
    try:
        rotation = await open_intent(resources, item_id, SYSTEM)
        if rotation is None and await _was_lost(resources, item_id):
            # Its user has logged in again, or so it was said: that brings no token back.
            return UserMustActError(LOST, request_id=error.request_id)
        stored = await settle(resources, rotation)
    except SyncError as told:
        return told
    except NotFoundError:
        # It was removed meanwhile: whichever token it had, it is gone.
        return error
    return RetryLaterError(REPLACED, request_id=error.request_id) if stored else error


async def open_intent(
    resources: Resources, item_id: UUID, actor: str, *, any_status: bool = False
) -> OpenRotation | None:
    """Return the Item's rotation that nobody has closed, if there is one; its token's decryption is recorded first.

    Raises:
        NotFoundError: there is no such Item, or, unless `any_status` is set, its access is gone for good.
    """
    async with resources.database.transaction() as session:
        open_ones = (TokenRotation.item_id == item_id, TokenRotation.status == TokenRotationStatus.STARTED)
        rotation = await session.scalar(select(TokenRotation).where(*open_ones))
        if rotation is None:
            return None
        item = await item_with_token(session, item_id, any_status=any_status)
        await record(session, AuditEventType.TOKEN_DECRYPTED, "An access token is decrypted to settle", item, actor)
    return OpenRotation(rotation.id, item_id, actor, item.plaid_access_token, sealed_token(item))


def sealed_token(item: PlaidItem) -> str:
    """Return an Item's token as it was read: while its row holds the same, nobody has put another in its place."""
    sealed: str = sealed_values(item)["plaid_access_token"]
    return sealed


async def settle(resources: Resources, rotation: OpenRotation | None) -> bool:
    """Close an open rotation, if it can be told how it ended; tell whether a new token was stored.

    Raises:
        UserMustActError: it happened, and nobody has the new token.
        SyncError: it cannot be told yet.
    """
    if rotation is None:
        return False
    if await _stored_parked(resources, rotation):
        return True
    try:
        await resources.plaid.post(LOOK, {"access_token": rotation.token})
    except SyncError as error:
        if error.error_code in OLD_TOKEN_IS_DEAD:
            await _lost(resources, rotation)
            raise UserMustActError(LOST, request_id=error.request_id) from None
        if error.error_type != "ITEM_ERROR":
            # Of us, such as keys that Plaid refuses: it says nothing about the token.
            raise
        # Any other answer is about an Item that the old token still names.
    async with resources.database.transaction() as session:
        await _finish(session, rotation, TokenRotationStatus.FAILED)
    return False


async def commit_token(resources: Resources, rotation: OpenRotation, sealed: str) -> None:
    """Store the new token and close the rotation, in one transaction.

    Whatever was made of the old one's death meanwhile is taken back: an Item given up for it is synced again, and one
    that shall be forgotten is removed at Plaid with the token that lives.
    """
    async with resources.database.transaction() as session:
        item = await item_with_token(session, rotation.item_id, any_status=True)
        values: dict[str, Any] = {"plaid_access_token": sealed, "updated_at": func.now()}
        reopened = update(ItemRemoval).where(ItemRemoval.item_id == rotation.item_id).returning(ItemRemoval.item_id)
        is_wanted = (
            await session.execute(reopened.values(removed_at=None, next_attempt_at=func.now()))
        ).first() is None
        if is_wanted and item.status is not ItemStatus.REMOVED and item.error_code in {LOST, *OLD_TOKEN_IS_DEAD}:
            # A sync gave it up while the process that held it stood still.
            values |= {"status": ItemStatus.ACTIVE, "error_type": None, "error_code": None, "next_sync_at": func.now()}
        # By id, not over the old envelope: re-encryption may have sealed the old token anew meanwhile.
        await session.execute(
            update(PlaidItem).where(PlaidItem.id == rotation.item_id).values(values),
            execution_options={"synchronize_session": False},
        )
        await _finish(session, rotation, TokenRotationStatus.DONE)
        await record(session, AuditEventType.ACCESS_TOKEN_ROTATED, "An access token was replaced", item, rotation.actor)


async def item_with_token(session: AsyncSession, item_id: UUID, *, any_status: bool = False) -> PlaidItem:
    """Return the Item, its row locked for the caller's transaction: what is settled stands on what it holds.

    Raises:
        NotFoundError: there is none, or its access is gone for good.
    """
    item = await session.get(PlaidItem, item_id, with_for_update={"key_share": True})
    if item is None or (item.status in GONE and not any_status):
        raise NotFoundError(f"there is no Item {item_id} whose token could be replaced")
    return item


def parked_key(rotation: OpenRotation) -> str:
    """Return where in Redis a sealed token waits that PostgreSQL could not take."""
    return f"token-rotation:{rotation.id}"


async def record(  # noqa: PLR0913, PLR0917 - an event's facts, in the order in which they are told
    session: AsyncSession,
    event: AuditEventType,
    message: str,
    item: PlaidItem,
    actor: str,
    context: AuditContext | None = None,
) -> None:
    """Record what happens to the Item's token."""
    await log_audit_event(event, message, session=session, context=context, actor=actor, resource=f"item:{item.id}")


async def _stored_parked(resources: Resources, rotation: OpenRotation) -> bool:
    try:
        parked = await resources.redis.get(parked_key(rotation))
    except RedisError:
        raise RetryLaterError("REDIS_AWAY") from None
    if parked is None:
        return False
    await commit_token(resources, rotation, parked if isinstance(parked, str) else parked.decode())
    await resources.redis.delete(parked_key(rotation))
    return True


async def _was_lost(resources: Resources, item_id: UUID) -> bool:
    last = (
        select(TokenRotation.status).where(TokenRotation.item_id == item_id).order_by(TokenRotation.started_at.desc())
    )
    async with resources.database.connection() as connection:
        return (await connection.execute(last.limit(1))).scalar() is TokenRotationStatus.LOST


async def _lost(resources: Resources, rotation: OpenRotation) -> None:
    async with resources.database.transaction() as session:
        item = await item_with_token(session, rotation.item_id, any_status=True)
        if sealed_token(item) != rotation.sealed:
            # Another rotation that began beside this one has stored its token: that one is asked with next time.
            raise RetryLaterError(REPLACED)
        values = {
            "status": ItemStatus.NEEDS_REAUTH,
            "error_type": "MANNA",
            "error_code": LOST,
            "next_sync_at": None,
            "updated_at": func.now(),
        }
        # One that was removed meanwhile stays so: nobody has to link it anew.
        await session.execute(
            update(PlaidItem).where(PlaidItem.id == rotation.item_id, PlaidItem.status.not_in(GONE)).values(values),
            execution_options={"synchronize_session": False},
        )
        await _finish(session, rotation, TokenRotationStatus.LOST, LOST)
        status = item.status if item.status in GONE else ItemStatus.NEEDS_REAUTH
        context = AuditContext(item_status=status.value, error_code=LOST)
        await record(
            session, AuditEventType.ITEM_STATUS_CHANGED, "An access token was lost", item, rotation.actor, context
        )


async def _finish(
    session: AsyncSession, rotation: OpenRotation, status: TokenRotationStatus, error_code: str | None = None
) -> None:
    await session.execute(
        update(TokenRotation)
        .where(TokenRotation.id == rotation.id)
        .values(status=status, finished_at=func.clock_timestamp(), error_code=error_code),
        execution_options={"synchronize_session": False},
    )
