"""Replaces an Item's access token by a new one of Plaid's, and settles what a crash in between left open.

`/item/access_token/invalidate` kills the old token the moment it makes the new one, and tells the new one once. So:

1. an intent is committed before Plaid is asked, and nothing is asked while one is open;
2. from the question to the commit of the answer nothing is cancelled, and nothing else stands in between;
3. PostgreSQL away just then is waited for, and after that the sealed token is parked in Redis.

What no order of steps can mend is an answer that never arrived, or a process killed between answer and commit: Plaid
does not tell a token twice. The open intent then finds out, by asking with the old token, whether it happened; if
it did, the Item is marked `needs_reauth`, and its user has to link it anew (`core.sync.token_settlement`).
"""

import asyncio
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from core.audit import AuditEventType
from core.errors import RetryLaterError, SyncError
from core.identity import new_id
from core.models import PlaidItem, TokenRotation
from core.resources import Resources
from core.sync.token_settlement import (
    OpenRotation,
    commit_token,
    item_with_token,
    open_intent,
    parked_key,
    record,
    sealed_token,
    settle,
)

log = structlog.get_logger()

INVALIDATE = "/item/access_token/invalidate"
STORE_SECONDS = 60.0


class Replaced(msgspec.Struct):
    """Plaid's answer; its repr does not show the token."""

    new_access_token: str

    def __repr__(self) -> str:
        return "Replaced()"


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
        await settle(resources, await open_intent(resources, item_id, actor))
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
        await settle(resources, await open_intent(resources, item_id, actor))


async def _begin(resources: Resources, item_id: UUID, actor: str) -> OpenRotation:
    async with resources.database.transaction() as session:
        item = await item_with_token(session, item_id)
        rotation = TokenRotation(id=new_id(), item_id=item_id)
        session.add(rotation)
        await record(session, AuditEventType.TOKEN_DECRYPTED, "An access token is decrypted to replace it", item, actor)
    return OpenRotation(rotation.id, item_id, actor, item.plaid_access_token, sealed_token(item))


async def _replace(resources: Resources, rotation: OpenRotation) -> None:
    try:
        body = await resources.plaid.post(INVALIDATE, {"access_token": rotation.token})
        new = msgspec.json.decode(body, type=Replaced).new_access_token
    except (SyncError, msgspec.MsgspecError) as error:
        # An error may hide a rotation that happened: the attempt before the one that failed, or a broken answer.
        await settle(resources, rotation)
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
        await attempts(commit_token, resources, rotation, sealed)
    except (SQLAlchemyError, OSError) as error:
        log.critical("token_not_stored", item_id=str(rotation.item_id), error=type(error).__name__)
        await resources.redis.set(parked_key(rotation), sealed)
        raise RetryLaterError("TOKEN_PARKED") from None


def _sealed(item_id: UUID, token: str) -> str:
    return sealed_token(PlaidItem(id=item_id, plaid_access_token=token))
