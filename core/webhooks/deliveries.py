"""One transaction for as many deliveries as wait: remembered once, with its effect, and recorded."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit import AuditContext, AuditEventType
from core.audit.outbox import Event, log_audit_events
from core.errors import WebhookRejectedError
from core.identity import new_id
from core.items.removal import request_removals
from core.models import Account, ItemStatus, PlaidItem
from core.plaid.webhook_verification import VerifiedWebhook
from core.telemetry import tracing
from core.webhooks.effects import SYNC, Effect, effect_of

GONE = (ItemStatus.REVOKED, ItemStatus.REMOVED)
PLAID = "plaid:webhook"
# A second in which Plaid may have signed two, and the ten that it waits for an answer. What comes later is a replay.
SAME_SECOND = timedelta(seconds=11)
# One parameter for any number of rows: one statement text, prepared once.
REMEMBER = text(
    "INSERT INTO webhook_events"
    " (id, delivery_key, webhook_type, webhook_code, plaid_item_id, item_id, payload, issued_at)"
    " SELECT id, decode(delivery_key, 'hex'), webhook_type, webhook_code, plaid_item_id, item_id, payload, issued_at"
    " FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS t(id uuid, delivery_key text, webhook_type text,"
    " webhook_code text, plaid_item_id text, item_id uuid, payload jsonb, issued_at timestamptz)"
    " ON CONFLICT (delivery_key) DO NOTHING RETURNING delivery_key"
)
LOCK_ITEMS = """
SELECT items.id, items.plaid_item_id, coalesce(held.status, items.status) AS status, held.id IS NOT NULL AS is_free
FROM plaid_items AS items
LEFT JOIN (
    SELECT id, status FROM plaid_items WHERE plaid_item_id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE {how}
) AS held ON held.id = items.id
WHERE items.plaid_item_id = ANY(:ids)
"""
LOCK_FREE_ITEMS, LOCK_ALL_ITEMS = text(LOCK_ITEMS.format(how="SKIP LOCKED")), text(LOCK_ITEMS.format(how=""))


class WebhookBody(msgspec.Struct):
    """The fields that every webhook has; the rest stays in the payload."""

    webhook_type: str
    webhook_code: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A verified webhook, read; equal to nothing but itself."""

    told: WebhookBody
    payload: dict[str, Any]
    proof: VerifiedWebhook
    effect: Effect
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch: those that were new, those whose Item another holds locked, and what follows.

    `to_sync` has with each Item the traces of the webhooks that tell of it.
    """

    new: set[Delivery]
    passed_over: set[Delivery]
    to_sync: dict[UUID, list[str]]
    ends_access: bool


def read_delivery(body: bytes, proof: VerifiedWebhook) -> Delivery:
    """Return the webhook of a verified body.

    Raises:
        WebhookRejectedError: Plaid signed it, and yet it is no webhook, or holds what PostgreSQL cannot keep.
    """
    try:
        told = msgspec.json.decode(body, type=WebhookBody)
        payload: dict[str, Any] = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise WebhookRejectedError("the body is not a webhook") from None
    if b"\\u0000" in body:
        raise WebhookRejectedError("the body has a NUL character")
    return Delivery(told, payload, proof, effect_of(told.webhook_type, told.webhook_code, payload), tracing.current())


async def keep_deliveries(connection: AsyncConnection, deliveries: Sequence[Delivery], *, wait: bool) -> Kept:
    """Keep deliveries in the caller's transaction, each once, with its effect.

    With `wait` false an Item that a commit holds locked is passed over: one long commit must not keep everybody's
    webhooks waiting. Items are locked in the order of their ids, so that two web processes never wait in a ring.
    """
    items = await _lock_items(connection, deliveries, wait=wait)
    free = [one for one in deliveries if (item := items.get(one.told.item_id)) is None or item.is_free]
    new = await _remember(connection, free, items)
    counted = [*new, *_told_again(free, new)]
    reached = [(one.effect, items[one.told.item_id]) for one in counted if one.told.item_id in items]
    standing = [(effect, item.id) for effect, item in reached if item.status not in GONE]
    ended = {item_id for effect, item_id in standing if effect.ends_access}
    # What else a batch tells of an Item that ends in it would bring the Item back, or have it looked for for ever.
    lasting = [(effect, item_id) for effect, item_id in standing if effect.ends_access or item_id not in ended]
    for effect, item_ids in _by_effect(lasting):
        await _apply(connection, effect, item_ids)
    return Kept(set(new), set(deliveries).difference(free), _to_sync(counted, items, ended), bool(ended))


def _to_sync(
    new: Iterable[Delivery], items: Mapping[str | None, Any], ended: Collection[UUID]
) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    for one in new:
        item = items.get(one.told.item_id)
        if one.effect.leads_to_sync and item is not None and item.status not in GONE and item.id not in ended:
            traces = found.setdefault(item.id, [])
            if one.traceparent is not None:
                traces.append(one.traceparent)
    return found


def _told_again(deliveries: Sequence[Delivery], new: Sequence[Delivery]) -> list[Delivery]:
    """Return the fresh ones among the repeated that only ask for a sync.

    Bodies of one code repeat, and `iat` counts seconds: two changes announced within one look like one delivery. A
    sync too many is cheap, one too few leaves an announced Item stale until the schedule looks.
    """
    known, since = set(new), datetime.now(UTC) - SAME_SECOND
    return [one for one in deliveries if one not in known and one.effect is SYNC and one.proof.issued_at >= since]


async def _lock_items(
    connection: AsyncConnection, deliveries: Sequence[Delivery], *, wait: bool
) -> dict[str | None, Any]:
    named = list({one.told.item_id for one in deliveries if one.told.item_id is not None})
    rows = await connection.execute(LOCK_ALL_ITEMS if wait else LOCK_FREE_ITEMS, {"ids": named})
    return {row.plaid_item_id: row for row in rows}


async def _remember(
    connection: AsyncConnection, deliveries: Sequence[Delivery], items: dict[str | None, Any]
) -> list[Delivery]:
    """Insert the events and return the deliveries that were new; of two equal ones the first."""
    if not deliveries:
        return []
    rows = [_row(one, items.get(one.told.item_id)) for one in deliveries]
    told = msgspec.json.encode(rows).decode()
    inserted = {bytes(key) for key in (await connection.execute(REMEMBER, {"told": told})).scalars()}
    first = {one.proof.delivery_key: one for one in reversed(deliveries)}
    new = [one for key, one in reversed(first.items()) if key in inserted]
    await log_audit_events(connection, [_event(one, items.get(one.told.item_id)) for one in new])
    return new


def _row(delivery: Delivery, item: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "delivery_key": delivery.proof.delivery_key.hex(),
        "webhook_type": delivery.told.webhook_type,
        "webhook_code": delivery.told.webhook_code,
        "plaid_item_id": delivery.told.item_id,
        "item_id": item.id if item else None,
        "payload": delivery.payload,
        "issued_at": delivery.proof.issued_at,
    }


def _event(delivery: Delivery, item: Any) -> Event:
    told = delivery.told
    context = AuditContext(webhook_type=told.webhook_type, webhook_code=told.webhook_code)
    resource = f"item:{item.id}" if item else f"plaid_item:{told.item_id}"
    return Event(AuditEventType.WEBHOOK_RECEIVED, "A webhook was received", context, resource=resource)


def _by_effect(standing: Iterable[tuple[Effect, UUID]]) -> list[tuple[Effect, list[UUID]]]:
    # By identity: the common effects are one object each, so that a burst of them is one statement.
    grouped: dict[int, tuple[Effect, list[UUID]]] = {}
    for effect, item_id in standing:
        grouped.setdefault(id(effect), (effect, []))[1].append(item_id)
    return list(grouped.values())


async def _apply(connection: AsyncConnection, effect: Effect, item_ids: list[UUID]) -> None:
    if effect.values:
        changed = update(PlaidItem).where(PlaidItem.id.in_(item_ids)).values(**effect.values, updated_at=func.now())
        await connection.execute(changed)
    if effect.ends_access:
        await request_removals(connection, item_ids, PLAID)
    if "status" in effect.values:
        await _record_status(connection, effect, item_ids)
    if effect.revoked_account is not None:
        theirs = (Account.item_id.in_(item_ids), Account.account_id == effect.revoked_account)
        revoked = update(Account).where(*theirs).values(revoked_at=func.coalesce(Account.revoked_at, func.now()))
        await connection.execute(revoked)


async def _record_status(connection: AsyncConnection, effect: Effect, item_ids: list[UUID]) -> None:
    kind = AuditEventType.ITEM_REVOKED if effect.ends_access else AuditEventType.ITEM_STATUS_CHANGED
    context = AuditContext(error_code=effect.values["error_code"])
    message = "Plaid told about an Item's access"
    await log_audit_events(connection, [Event(kind, message, context, resource=f"item:{one}") for one in item_ids])
