"""Replaces an Item's access token by a new one of Plaid's, and settles what a crash in between left open.

`/item/access_token/invalidate` kills the old token the moment it makes the new one, and tells the new one once. So:

1. an intent is committed before Plaid is asked, and nothing is asked while one is open;
2. from the question to the commit of the answer nothing is cancelled, and nothing else stands in between;
3. PostgreSQL away just then is waited for, and after that the sealed token is parked in Redis.

What no order of steps can mend is an answer that never arrived, or a process killed between answer and commit: Plaid
does not tell a token twice. The open intent then finds out, by asking with the old token, whether it happened; if
it did, the Item is marked `needs_reauth`, and its user has to link it anew.
"""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy import func, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import NotFoundError, RetryLaterError, SyncError, UserMustActError
from core.identity import new_id
from core.models import ItemStatus, PlaidItem, TokenRotation, TokenRotationStatus
from core.resources import Resources

log = structlog.get_logger()

INVALIDATE = "/item/access_token/invalidate"
LOOK = "/item/get"
# Which of the two a replaced token gives is not published.
OLD_TOKEN_IS_DEAD = frozenset({"INVALID_ACCESS_TOKEN", "ITEM_NOT_FOUND"})
LOST = "ACCESS_TOKEN_LOST"
STORE_SECONDS = 60.0
GONE = frozenset({ItemStatus.REVOKED, ItemStatus.REMOVED})


class Replaced(msgspec.Struct):
    """Plaid's answer; its repr does not show the token."""

    new_access_token: str

    def __repr__(self) -> str:
        return "Replaced()"


@dataclass(frozen=True, slots=True)
class OpenRotation:
    """A rotation whose intent is committed."""

    id: UUID
    item_id: UUID
    actor: str
    token: str = field(repr=False)


async def rotate_access_token(resources: Resources, item_id: UUID, actor: str) -> None:
    """Replace an Item's access token; once this returns, the new one is stored and the old one is dead.

    Raises:
        NotFoundError: there is no such Item, or its access is gone for good.
        LockNotAcquiredError: a sync of it is under way.
        RetryLaterError: it did not happen, or nobody can tell yet; the next call settles that first.
        UserMustActError: the new token was lost on its way; the Item is marked `needs_reauth`.
        SyncError: Plaid refused, and the old token is as good as it was.
    """
    async with resources.lease(item_id):
        await _settle(resources, await _open_intent(resources, item_id, actor))
        rotation = await _begin(resources, item_id, actor)
        replacing = asyncio.create_task(_replace(resources, rotation))
        try:
            await asyncio.shield(replacing)
        except asyncio.CancelledError:
            # Whoever cancels may have the process back once the only copy of a live token is stored.
            await replacing
            raise


async def settle_token_rotation(resources: Resources, item_id: UUID, actor: str) -> None:
    """Find out how a rotation that a crash left open has ended; nothing happens if there is none.

    Raises:
        As `rotate_access_token`.
    """
    async with resources.lease(item_id):
        await _settle(resources, await _open_intent(resources, item_id, actor))


async def _begin(resources: Resources, item_id: UUID, actor: str) -> OpenRotation:
    async with resources.database.transaction() as session:
        item = await _item(session, item_id)
        rotation = TokenRotation(id=new_id(), item_id=item_id)
        session.add(rotation)
        await _record(
            session, AuditEventType.TOKEN_DECRYPTED, "An access token is decrypted to replace it", item, actor
        )
    return OpenRotation(rotation.id, item_id, actor, item.plaid_access_token)


async def _open_intent(resources: Resources, item_id: UUID, actor: str) -> OpenRotation | None:
    async with resources.database.transaction() as session:
        open_ones = (TokenRotation.item_id == item_id, TokenRotation.status == TokenRotationStatus.STARTED)
        rotation = await session.scalar(select(TokenRotation).where(*open_ones))
        if rotation is None:
            return None
        item = await _item(session, item_id)
        await _record(session, AuditEventType.TOKEN_DECRYPTED, "An access token is decrypted to settle", item, actor)
    return OpenRotation(rotation.id, item_id, actor, item.plaid_access_token)


async def _replace(resources: Resources, rotation: OpenRotation) -> None:
    try:
        body = await resources.plaid.post(INVALIDATE, {"access_token": rotation.token})
        new = msgspec.json.decode(body, type=Replaced).new_access_token
    except (SyncError, msgspec.MsgspecError) as error:
        # An error may hide a rotation that happened: the attempt before the one that failed, or a broken answer.
        await _settle(resources, rotation)
        raise error if isinstance(error, SyncError) else RetryLaterError("UNREADABLE_ANSWER") from None
    await _store(resources, rotation, _sealed(rotation.item_id, new))


async def _store(resources: Resources, rotation: OpenRotation, sealed: str) -> None:
    attempts = AsyncRetrying(
        retry=retry_if_exception_type((SQLAlchemyError, OSError)),
        wait=wait_exponential_jitter(multiplier=0.1, max=5),
        stop=stop_after_delay(STORE_SECONDS),
        reraise=True,
    )
    try:
        await attempts(_commit_token, resources, rotation, sealed)
    except (SQLAlchemyError, OSError) as error:
        log.critical("token_not_stored", item_id=str(rotation.item_id), error=type(error).__name__)
        await resources.redis.set(_parked_key(rotation), sealed)
        raise RetryLaterError("TOKEN_PARKED") from None


async def _commit_token(resources: Resources, rotation: OpenRotation, sealed: str) -> None:
    async with resources.database.transaction() as session:
        item = await _item(session, rotation.item_id, any_status=True)
        # By id, not over the old envelope: re-encryption may have sealed the old token anew meanwhile.
        await session.execute(
            update(PlaidItem)
            .where(PlaidItem.id == rotation.item_id)
            .values(plaid_access_token=sealed, updated_at=func.now()),
            execution_options={"synchronize_session": False},
        )
        await _finish(session, rotation, TokenRotationStatus.DONE)
        await _record(
            session, AuditEventType.ACCESS_TOKEN_ROTATED, "An access token was replaced", item, rotation.actor
        )


async def _settle(resources: Resources, rotation: OpenRotation | None) -> None:
    """Close an open rotation, if it can be told how it ended.

    Raises:
        RetryLaterError: it cannot be told yet.
        UserMustActError: it happened, and nobody has the new token.
    """
    if rotation is None or await _stored_parked(resources, rotation):
        return
    try:
        await resources.plaid.post(LOOK, {"access_token": rotation.token})
    except RetryLaterError:
        raise
    except SyncError as error:
        if error.error_code in OLD_TOKEN_IS_DEAD:
            await _lost(resources, rotation)
            raise UserMustActError(LOST, request_id=error.request_id) from None
        # Any other answer is about an Item that the old token still names.
    async with resources.database.transaction() as session:
        await _finish(session, rotation, TokenRotationStatus.FAILED)


async def _stored_parked(resources: Resources, rotation: OpenRotation) -> bool:
    try:
        parked = await resources.redis.get(_parked_key(rotation))
    except RedisError:
        raise RetryLaterError("REDIS_AWAY") from None
    if parked is None:
        return False
    await _commit_token(resources, rotation, parked if isinstance(parked, str) else parked.decode())
    await resources.redis.delete(_parked_key(rotation))
    return True


async def _lost(resources: Resources, rotation: OpenRotation) -> None:
    async with resources.database.transaction() as session:
        item = await _item(session, rotation.item_id, any_status=True)
        values = {
            "status": ItemStatus.NEEDS_REAUTH,
            "error_type": "MANNA",
            "error_code": LOST,
            "next_sync_at": None,
            "updated_at": func.now(),
        }
        await session.execute(
            update(PlaidItem).where(PlaidItem.id == rotation.item_id).values(values),
            execution_options={"synchronize_session": False},
        )
        await _finish(session, rotation, TokenRotationStatus.LOST, LOST)
        context = AuditContext(item_status=ItemStatus.NEEDS_REAUTH.value, error_code=LOST)
        await _record(
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


async def _item(session: AsyncSession, item_id: UUID, *, any_status: bool = False) -> PlaidItem:
    item = await session.get(PlaidItem, item_id)
    if item is None or (item.status in GONE and not any_status):
        raise NotFoundError(f"there is no Item {item_id} whose token could be replaced")
    return item


def _sealed(item_id: UUID, token: str) -> str:
    row = PlaidItem(id=item_id, plaid_access_token=token)
    sealed: str = inspect(row).dict["plaid_access_token"]
    return sealed


def _parked_key(rotation: OpenRotation) -> str:
    return f"token-rotation:{rotation.id}"


async def _record(  # noqa: PLR0913, PLR0917 - an event's facts, in the order in which they are told
    session: AsyncSession,
    event: AuditEventType,
    message: str,
    item: PlaidItem,
    actor: str,
    context: AuditContext | None = None,
) -> None:
    await log_audit_event(event, message, session=session, context=context, actor=actor, resource=f"item:{item.id}")
