"""Webhooks, once verified: kept once, with their effect."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from core.errors import WebhookRejectedError
from core.items.registration import NewItem, register_items
from core.locking.redis_lock import item_lease, keys_of
from core.plaid.webhook_verification import VerifiedWebhook
from core.webhooks.deliveries import keep_deliveries, read_delivery
from core.webhooks.effects import EFFECTS
from core.webhooks.inbox import Inbox

DAY = datetime(2026, 5, 2, tzinfo=UTC)


def webhook(kind="TRANSACTIONS", code="SYNC_UPDATES_AVAILABLE", item_id="itm1", **fields):
    return json.dumps({"webhook_type": kind, "webhook_code": code, "item_id": item_id, **fields}).encode()


def proof(body, at=DAY):
    return VerifiedWebhook(at, hashlib.sha256(body).hexdigest())


@pytest.fixture
async def inbox(resources):
    inbox = Inbox(resources)
    yield inbox
    await inbox.idle()


@pytest.fixture
async def item_id(resources):
    (registered,) = await register_items(resources.database, [NewItem("u1", "itm1", "access-sandbox-1")], "operator:t")
    return registered


async def rows(resources, statement, **values):
    async with resources.database.connection() as connection:
        found = await connection.execute(text(statement), values)
        return [dict(row._mapping) for row in found] if found.returns_rows else []


async def receive(inbox, body, at=DAY):
    new = await inbox.receive(body, proof(body, at))
    await inbox.idle()
    return new


async def test_an_update_is_remembered_and_sent_for_once(resources, inbox, item_id):
    body = webhook()
    assert await receive(inbox, body)
    assert not await receive(inbox, body)
    assert await receive(inbox, body, datetime(2026, 5, 3, tzinfo=UTC))
    assert await rows(resources, "SELECT count(*), count(DISTINCT item_id) AS items FROM webhook_events") == [
        {"count": 2, "items": 1}
    ]
    assert await resources.redis.exists(keys_of(item_lease(item_id))[2])
    assert await resources.redis.llen("sync.webhook") == 1
    assert await rows(resources, "SELECT sync_requested_at IS NOT NULL AS asked FROM plaid_items") == [{"asked": True}]


async def test_a_burst_is_kept_whole_and_each_delivery_once(resources, inbox, item_id):
    bodies = [webhook(number=number // 2) for number in range(60)]
    new = await asyncio.gather(*(inbox.receive(body, proof(body)) for body in bodies))
    await inbox.idle()
    assert sorted(new) == [False] * 30 + [True] * 30
    assert await rows(resources, "SELECT count(*) FROM webhook_events") == [{"count": 30}]
    events = "SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:webhook:received'"
    assert await rows(resources, events) == [{"count": 30}]
    assert await resources.redis.llen("sync.webhook") == 1


async def test_a_burst_of_many_items_goes_in_few_messages_that_name_each_once(resources, inbox):
    new = [NewItem("u1", f"itm{number}", "access-sandbox-1") for number in range(25)]
    registered = await register_items(resources.database, new, "operator:t")
    bodies = [webhook(item_id=one.plaid_item_id) for one in new]
    await asyncio.gather(*(inbox.receive(body, proof(body)) for body in bodies))
    await inbox.idle()
    sent = [json.loads(message) for message in await resources.redis.lrange("sync.webhook", 0, -1)]
    named = [json.loads(base64.b64decode(one["body"]))[1] for one in sent]
    ids = [item_id for one in named for item_id in one.get("item_ids", [one.get("item_id")])]
    assert sorted(ids) == sorted(str(item_id) for item_id in registered)
    assert len(sent) < len(ids)


async def test_an_item_that_a_commit_holds_locked_keeps_no_other_waiting(resources, inbox, item_id):
    await register_items(resources.database, [NewItem("u2", "itm2", "access-sandbox-2")], "operator:t")
    async with resources.database.connection() as connection:
        await connection.execute(text("UPDATE plaid_items SET version = version WHERE plaid_item_id = 'itm1'"))
        locked = asyncio.create_task(inbox.receive(webhook(), proof(webhook())))
        free = webhook(item_id="itm2")
        assert await inbox.receive(free, proof(free))
        assert not locked.done()
    assert await locked
    await inbox.idle()
    assert await resources.redis.llen("sync.webhook") == 2


async def test_an_unknown_item_is_kept_and_found_when_it_is_linked(resources, inbox):
    assert await receive(inbox, webhook(item_id="early"))
    assert await resources.redis.llen("sync.webhook") == 0
    (linked,) = await register_items(resources.database, [NewItem("u1", "early", "access-sandbox-1")], "operator:t")
    assert await rows(resources, "SELECT item_id FROM webhook_events") == [{"item_id": linked}]


@pytest.mark.parametrize("body", [b"[]", b"{}", b"\xff", b"", webhook(text="\0")])
async def test_what_is_no_webhook_is_refused_and_leaves_nothing(resources, inbox, body):
    with pytest.raises(WebhookRejectedError):
        await inbox.receive(body, proof(body))
    assert await rows(resources, "SELECT count(*) FROM webhook_events") == [{"count": 0}]


async def test_what_cannot_be_made_durable_is_not_answered_as_if_it_were(resources, inbox, item_id):
    await rows(resources, "ALTER TABLE webhook_events RENAME TO gone")
    answers = await asyncio.gather(
        *(inbox.receive(webhook(n=n), proof(webhook(n=n))) for n in range(3)), return_exceptions=True
    )
    assert [isinstance(answer, Exception) for answer in answers] == [True] * 3
    await rows(resources, "ALTER TABLE gone RENAME TO webhook_events")
    assert await receive(inbox, webhook(n=0))
    assert await rows(resources, "SELECT count(*) FROM webhook_events") == [{"count": 1}]


LOGIN = {"error_type": "ITEM_ERROR", "error_code": "ITEM_LOGIN_REQUIRED", "error_message": "x", "status": 400}
GONE = {"error_type": "ITEM_ERROR", "error_code": "USER_PERMISSION_REVOKED", "error_message": "x", "status": 400}
DOWN = {"error_type": "INSTITUTION_ERROR", "error_code": "INSTITUTION_DOWN", "error_message": "x", "status": 400}


JUNE = {"consent_expiration_time": "2026-06-01T00:00:00Z"}
MOVED = {"reason": "INSTITUTION_MIGRATION", "disconnect_time": "2026-06-01T00:00:00Z"}
FIRST_OF_JUNE = datetime(2026, 6, 1, tzinfo=UTC)
REVOKED = {"status": "revoked", "next_sync_at": None, "version": 1}
EXPIRES = {"access_ends_reason": "CONSENT_EXPIRES"}
EFFECTS_ON_AN_ITEM = [
    # code, the webhook's fields, what the Item has afterwards, how many syncs were sent for
    ("ERROR", {"error": LOGIN}, {"status": "needs_reauth", "error_code": "ITEM_LOGIN_REQUIRED"}, 1),
    ("ERROR", {"error": DOWN}, {"status": "active", "error_code": "INSTITUTION_DOWN"}, 1),
    ("ERROR", {"error": GONE}, REVOKED, 0),
    ("ERROR", {"error": None}, {"status": "active", "error_code": None}, 1),
    ("USER_PERMISSION_REVOKED", {"error": GONE}, REVOKED, 0),
    ("PENDING_EXPIRATION", JUNE, {**EXPIRES, "access_ends_at": FIRST_OF_JUNE}, 0),
    ("PENDING_EXPIRATION", {"consent_expiration_time": "soon"}, {**EXPIRES, "access_ends_at": None}, 0),
    ("PENDING_DISCONNECT", MOVED, {"access_ends_reason": MOVED["reason"], "access_ends_at": FIRST_OF_JUNE}, 0),
    ("WEBHOOK_UPDATE_ACKNOWLEDGED", {"new_webhook_url": "https://manna.example"}, {"status": "active"}, 0),
]


@pytest.mark.parametrize("case", EFFECTS_ON_AN_ITEM, ids=lambda case: case[0])
async def test_each_webhook_of_an_item_has_its_effect(resources, inbox, item_id, case):
    code, fields, expected, syncs = case
    assert await receive(inbox, webhook("ITEM", code, **fields))
    (item,) = await rows(resources, "SELECT * FROM plaid_items")
    assert {name: item[name] for name in expected} == expected
    assert await resources.redis.llen("sync.webhook") == syncs


async def test_a_revoked_permission_has_plaid_forget_the_item(resources, inbox, item_id):
    await receive(inbox, webhook("ITEM", "USER_PERMISSION_REVOKED"))
    assert await rows(resources, "SELECT item_id, requested_by FROM item_removals") == [
        {"item_id": item_id, "requested_by": "plaid:webhook"}
    ]
    assert await resources.redis.llen("maintenance") == 1
    recorded = "SELECT event_type FROM audit_outbox WHERE event_type LIKE 'plaid:item:%'"
    assert await rows(resources, recorded) == [{"event_type": "plaid:item:revoked"}]
    assert await receive(inbox, webhook())
    assert await resources.redis.llen("sync.webhook") == 0


async def test_a_repaired_login_clears_what_was_told_before(resources, inbox, item_id):
    await receive(inbox, webhook("ITEM", "ERROR", error=LOGIN))
    await receive(inbox, webhook("ITEM", "PENDING_DISCONNECT", reason="X", disconnect_time="2026-06-01T00:00:00Z"))
    await receive(inbox, webhook("ITEM", "NEW_ACCOUNTS_AVAILABLE"))
    (item,) = await rows(resources, "SELECT * FROM plaid_items")
    assert item["new_accounts_at"] is not None
    await receive(inbox, webhook("ITEM", "LOGIN_REPAIRED"))
    (item,) = await rows(resources, "SELECT * FROM plaid_items")
    told = ("status", "error_code", "access_ends_at", "access_ends_reason", "new_accounts_at")
    assert [item[name] for name in told] == ["active", None, None, None, None]


async def test_an_account_taken_back_is_marked(resources, inbox, item_id):
    await rows(
        resources,
        "INSERT INTO accounts (item_id, account_id, name, type) VALUES (:id, 'a1', 'n', 'credit')",
        id=item_id,
    )
    await receive(inbox, webhook("ITEM", "USER_ACCOUNT_REVOKED", account_id="a1"))
    assert await rows(resources, "SELECT revoked_at IS NOT NULL AS revoked FROM accounts") == [{"revoked": True}]


async def test_every_documented_code_is_known_and_the_rest_is_only_remembered(resources, inbox, item_id):
    for number, (kind, code) in enumerate([*EFFECTS, ("ASSETS", "PRODUCT_READY")]):
        assert await receive(inbox, webhook(kind, code, number=number))
    assert await rows(resources, "SELECT count(*) FROM webhook_events") == [{"count": len(EFFECTS) + 1}]


async def together(resources, *bodies):
    """Receive webhooks as one batch: they arrive while another transaction is under way."""
    deliveries = [read_delivery(body, proof(body)) for body in bodies]
    async with resources.database.connection() as connection:
        return await keep_deliveries(connection, deliveries, wait=False)


@pytest.mark.parametrize("other", [webhook(), webhook("ITEM", "ERROR", error=LOGIN), webhook("ITEM", "LOGIN_REPAIRED")])
@pytest.mark.parametrize("is_first", [True, False])
async def test_what_comes_together_with_a_revocation_does_not_bring_the_item_back(resources, item_id, other, is_first):
    revocation = webhook("ITEM", "USER_PERMISSION_REVOKED")
    kept = await together(resources, *([revocation, other] if is_first else [other, revocation]))
    assert (len(kept.new), kept.to_sync, kept.ends_access) == (2, {}, True)
    (item,) = await rows(resources, "SELECT status, error_code, next_sync_at FROM plaid_items")
    assert item == {"status": "revoked", "error_code": "USER_PERMISSION_REVOKED", "next_sync_at": None}
    assert await rows(resources, "SELECT due_at FROM item_schedules") == [{"due_at": None}]
