"""Webhooks, once verified."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from core.broker.publisher import queued_key
from core.errors import WebhookRejectedError
from core.items.registration import NewItem, register_items
from core.plaid.webhook_verification import VerifiedWebhook
from core.webhooks.inbox import receive_webhook

PROOF = VerifiedWebhook(datetime(2026, 5, 2, tzinfo=UTC), "ab" * 32)


def body(**changes):
    told = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "itm1"}
    return json.dumps(told | changes).encode()


@pytest.fixture
async def item_id(resources) -> UUID:
    token = "access-sandbox-1"
    (registered,) = await register_items(resources.database, [NewItem("u1", "itm1", token)], "operator:test")
    return registered


async def count(resources, table):
    async with resources.database.connection() as connection:
        return (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()


async def test_an_update_is_remembered_and_sent_for_once(resources, item_id):
    assert await receive_webhook(resources, body(), PROOF)
    assert not await receive_webhook(resources, body(), PROOF)
    later = VerifiedWebhook(datetime(2026, 5, 3, tzinfo=UTC), PROOF.body_sha256)
    assert await receive_webhook(resources, body(), later)
    assert await count(resources, "webhook_events") == 2
    assert await resources.redis.exists(queued_key(item_id))
    assert await resources.redis.llen("sync.webhook") == 1


async def test_an_unknown_item_is_kept_and_sends_for_nothing(resources):
    assert await receive_webhook(resources, body(item_id="nobody's"), PROOF)
    assert await count(resources, "webhook_events WHERE item_id IS NULL") == 1
    assert await resources.redis.llen("sync.webhook") == 0


async def test_what_is_no_webhook_is_refused_and_leaves_nothing(resources):
    with pytest.raises(WebhookRejectedError):
        await receive_webhook(resources, b"[]", PROOF)
    assert await count(resources, "webhook_events") == 0
