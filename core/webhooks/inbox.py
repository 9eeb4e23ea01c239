"""Receive: remember once, mark the Item, and only then send for the sync."""

from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import WebhookRejectedError
from core.identity import new_id
from core.models import ItemStatus, PlaidItem, SyncTrigger, WebhookEvent
from core.plaid.webhook_verification import VerifiedWebhook
from core.resources import Resources

log = structlog.get_logger()

# Those after which /transactions/sync has something new to say. The rest is remembered, and has its effect later.
LEADS_TO_A_SYNC = frozenset({("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"), ("ITEM", "LOGIN_REPAIRED")})
GONE = (ItemStatus.REVOKED, ItemStatus.REMOVED)


class WebhookBody(msgspec.Struct):
    """The fields that every webhook has; the rest stays in the payload."""

    webhook_type: str
    webhook_code: str
    item_id: str | None = None


async def receive_webhook(resources: Resources, body: bytes, proof: VerifiedWebhook) -> bool:
    """Make a verified webhook durable, send for the sync that it asks for, and tell whether it was new.

    When this returns, the work is in the database: a message that is lost afterwards is found again by the
    dispatcher. Source: Plaid, webhooks; no delivery id exists, so `proof.delivery_key` is ours.

    Raises:
        WebhookRejectedError: Plaid signed it, and yet it is no webhook.
    """
    try:
        told = msgspec.json.decode(body, type=WebhookBody)
        payload: dict[str, Any] = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        raise WebhookRejectedError("the body is not a webhook") from None
    async with resources.database.transaction() as session:
        item_id = await _find_item(session, told.item_id)
        if not await _remember(session, told, payload, proof, item_id):
            return False
        wanted = item_id is not None and (told.webhook_type, told.webhook_code) in LEADS_TO_A_SYNC
        if wanted:
            await _mark_dirty(session, item_id)
    if wanted and item_id is not None:
        await resources.publisher.publish_once(item_id, SyncTrigger.WEBHOOK)
    return True


async def _find_item(session: AsyncSession, plaid_item_id: str | None) -> UUID | None:
    query = select(PlaidItem.id).where(PlaidItem.plaid_item_id == plaid_item_id, PlaidItem.status.not_in(GONE))
    return (await session.execute(query)).scalar_one_or_none()


async def _remember(
    session: AsyncSession, told: WebhookBody, payload: dict[str, Any], proof: VerifiedWebhook, item_id: UUID | None
) -> bool:
    values = {
        "id": new_id(),
        "delivery_key": proof.delivery_key,
        "webhook_type": told.webhook_type,
        "webhook_code": told.webhook_code,
        "plaid_item_id": told.item_id,
        "item_id": item_id,
        "payload": payload,
        "issued_at": proof.issued_at,
    }
    statement = insert(WebhookEvent).values(values).on_conflict_do_nothing(index_elements=["delivery_key"])
    if (await session.execute(statement.returning(WebhookEvent.id))).first() is None:
        return False
    context = AuditContext(webhook_type=told.webhook_type, webhook_code=told.webhook_code)
    resource = f"item:{item_id}" if item_id else f"plaid_item:{told.item_id}"
    await log_audit_event(
        AuditEventType.WEBHOOK_RECEIVED, "A webhook was received", session=session, context=context, resource=resource
    )
    return True


async def _mark_dirty(session: AsyncSession, item_id: UUID | None) -> None:
    # The version stays: a sync under way may still commit, it only has to be followed by one more.
    values = {
        "sync_requested_at": func.clock_timestamp(),
        "webhook_seen_at": func.now(),
        "next_sync_at": func.least(func.coalesce(PlaidItem.next_sync_at, func.now()), func.now()),
    }
    await session.execute(
        update(PlaidItem).where(PlaidItem.id == item_id).values(values),
        execution_options={"synchronize_session": False},
    )
