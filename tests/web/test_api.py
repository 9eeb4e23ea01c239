"""The API as its callers see it."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from core.audit.sink import seal_outbox
from core.identity import new_id
from core.items.registration import NewItem, register_items
from tests.web.conftest import opened

ROUTES = [
    ("POST", "/api/v1/link-token", "items:write"),
    ("POST", "/api/v1/items", "items:write"),
    ("GET", "/api/v1/items", "items:read"),
    ("GET", f"/api/v1/items/{new_id()}", "items:read"),
    ("POST", f"/api/v1/items/{new_id()}/sync", "items:write"),
    ("DELETE", f"/api/v1/items/{new_id()}", "items:write"),
    ("GET", f"/api/v1/items/{new_id()}/transactions", "items:read"),
    ("GET", "/api/v1/syncs", "syncs:read"),
    ("GET", f"/api/v1/syncs/{new_id()}", "syncs:read"),
    ("POST", "/api/v1/replays", "syncs:replay"),
    ("GET", "/api/v1/replays", "syncs:read"),
    ("GET", f"/api/v1/replays/{new_id()}", "syncs:read"),
    ("POST", f"/api/v1/replays/{new_id()}/stop", "syncs:replay"),
    ("POST", f"/api/v1/replays/{new_id()}/resume", "syncs:replay"),
    ("GET", "/api/v1/audit-events", "audit:read"),
    ("GET", "/api/v1/webhook-events", "items:read"),
]


def resources_of(client):
    return client.app.state.services.resources


async def rows(client, statement, **values):
    async with resources_of(client).database.connection() as connection:
        found = await connection.execute(text(statement), values)
        return [dict(row._mapping) for row in found] if found.returns_rows else []


async def test_every_route_wants_a_token_with_its_scope_and_every_refusal_is_recorded(client, bearer):
    others = {"items:read", "items:write", "syncs:read", "syncs:replay", "audit:read"}
    for method, path, scope in ROUTES:
        without = await client.request(method, path)
        wrong = await client.request(method, path, headers=bearer(*(others - {scope})))
        assert (without.status_code, wrong.status_code) == (401, 403), path
        assert without.headers["www-authenticate"].startswith("Bearer")
        assert f'scope="{scope}"' in wrong.headers["www-authenticate"]
        assert without.headers["content-type"] == "application/problem+json"
    recorded = "SELECT event_type, actor, context ->> 'reason' AS reason, count(*) FROM audit_outbox GROUP BY 1, 2, 3"
    assert {tuple(row.values()) for row in await rows(client, recorded)} == {
        ("auth:token:rejected", "ip:198.51.100.7", "no_token", len(ROUTES)),
        ("auth:access:denied", "token:ops", "scope_missing", len(ROUTES)),
    }


async def test_a_bad_token_is_refused_with_its_reason_in_our_log_alone(client, bearer):
    headers = [bearer(ttl=1, now=1_000), {"Authorization": "Basic b3BzOm9wcw=="}, {"Authorization": "Bearer x"}]
    answers = [await client.get("/api/v1/items", headers=one) for one in headers]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert len({json.dumps(answer.json()) for answer in answers}) == 1
    reasons = [row["reason"] for row in await rows(client, "SELECT context ->> 'reason' AS reason FROM audit_outbox")]
    assert reasons == ["expired", "not_one_bearer_token", "DecodeError"]


async def test_items_are_filtered_and_paged_through_without_gap_or_repeat(client, bearer):
    new = [NewItem(f"u{number % 3}", f"itm{number}", "access-sandbox-1") for number in range(25)]
    ids = await register_items(resources_of(client).database, new, "operator:test")
    seen, cursor = [], None
    while True:
        asked = {"limit": 7} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/items", params=asked, headers=bearer("items:read"))).json()
        seen += [one["id"] for one in page["data"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [str(one) for one in reversed(ids)]
    of_one = (await client.get("/api/v1/items?user_id=u1&status=active", headers=bearer("items:read"))).json()
    assert {one["user_id"] for one in of_one["data"]} == {"u1"}
    assert "access-sandbox" not in json.dumps(of_one)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "cursor=x", "cursor=bnVsbA", "status=lost", "misspelt=1", "user_id=%00", "user_id="],
)
async def test_a_wrong_query_is_told_what_is_wrong(client, bearer, query):
    answer = await client.get(f"/api/v1/items?{query}", headers=bearer("items:read"))
    assert answer.status_code == 422
    assert answer.json()["type"].startswith("urn:manna-sync:problem:")


@pytest.fixture
async def transactions(client, item_id):
    add = (
        "INSERT INTO transactions"
        " (item_id, transaction_id, account_id, amount, iso_currency_code, date, pending, removed_at)"
        " SELECT :item, 't' || lpad(n::text, 3, '0'), 'a' || n % 2, n * 0.01, 'USD', DATE '2026-05-01' + n / 4,"
        " n % 5 = 0, CASE WHEN n = 7 THEN now() END FROM generate_series(1, 40) AS n"
    )
    await rows(client, add, item=item_id)


async def test_transactions_are_exact_filtered_and_paged(client, bearer, item_id, transactions):
    headers, path = bearer("items:read"), f"/api/v1/items/{item_id}/transactions"
    first = (await client.get(path, params={"limit": 30}, headers=headers)).json()
    second = (await client.get(path, params={"limit": 30, "cursor": first["next_cursor"]}, headers=headers)).json()
    seen = [one["transaction_id"] for one in (*first["data"], *second["data"])]
    assert seen == [f"t{number:03}" for number in range(40, 0, -1) if number != 7]
    assert first["data"][-1]["amount"] == "0.11"
    asked = {"account_id": "a1", "start_date": "2026-05-02", "end_date": "2026-05-03", "pending": False}
    some = (await client.get(path, params=asked, headers=headers)).json()["data"]
    assert [one["transaction_id"] for one in some] == ["t011", "t009"]
    every = (await client.get(path, params={"include_removed": True, "limit": 500}, headers=headers)).json()["data"]
    assert len(every) == 40


async def test_an_item_is_shown_with_its_health(client, bearer, item_id, transactions):
    shown = (await client.get(f"/api/v1/items/{item_id}", headers=bearer("items:read"))).json()
    assert (shown["status"], shown["transactions"], shown["runs"], shown["removal"]) == ("active", 39, [], None)


async def test_a_sync_is_durable_before_it_is_answered_and_asked_for_once(client, bearer, item_id):
    for _ in range(2):
        answer = await client.post(f"/api/v1/items/{item_id}/sync", headers=bearer("items:write"))
        assert (answer.status_code, answer.json()) == (202, {"status": "queued", "item_id": str(item_id)})
    asked = "SELECT sync_requested_at IS NOT NULL AND next_sync_at <= now() AS asked FROM plaid_items"
    assert await rows(client, asked) == [{"asked": True}]
    assert await resources_of(client).redis.llen("sync.webhook") == 1


async def test_what_the_user_has_repaired_counts_as_repaired(client, bearer, item_id):
    await rows(
        client,
        "UPDATE plaid_items SET status = 'needs_reauth', error_code = 'ITEM_LOGIN_REQUIRED', next_sync_at = NULL",
    )
    await client.post(f"/api/v1/items/{item_id}/sync", json={"repaired": True}, headers=bearer("items:write"))
    assert await rows(client, "SELECT status, error_code, next_sync_at IS NULL AS off FROM plaid_items") == [
        {"status": "active", "error_code": None, "off": False}
    ]


async def test_a_removed_item_is_not_synced_any_more(client, bearer, item_id):
    headers = bearer("items:write")
    assert (await client.delete(f"/api/v1/items/{item_id}", headers=headers)).status_code == 202
    assert (await client.delete(f"/api/v1/items/{item_id}", headers=headers)).status_code == 202
    refused = await client.post(f"/api/v1/items/{item_id}/sync", headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:manna-sync:problem:item-not-usable")
    assert await rows(client, "SELECT status, next_sync_at, version FROM plaid_items") == [
        {"status": "removed", "next_sync_at": None, "version": 1}
    ]
    assert len(await rows(client, "SELECT * FROM item_removals")) == 1
    missing = await client.delete(f"/api/v1/items/{new_id()}", headers=headers)
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:manna-sync:problem:not-found")


async def test_runs_are_found_by_what_went_wrong(client, bearer, item_id):
    for number in range(6):
        await rows(
            client,
            "INSERT INTO sync_runs (id, item_id, trigger, status, error_code, started_at)"
            " VALUES (:id, :item, 'scheduled', :status, :code, :at)",
            id=new_id(), item=item_id, status="failed" if number % 2 else "succeeded",
            code="INSTITUTION_DOWN" if number % 2 else None, at=datetime(2026, 5, 1 + number, tzinfo=UTC),
        )  # fmt: skip
    headers = bearer("syncs:read")
    asked = {"status": "failed", "error_code": "INSTITUTION_DOWN", "since": "2026-05-03T00:00:00+02:00"}
    found = (await client.get("/api/v1/syncs", params=asked, headers=headers)).json()["data"]
    assert [one["started_at"][:10] for one in found] == ["2026-05-06", "2026-05-04"]
    one = (await client.get(f"/api/v1/syncs/{found[0]['id']}", headers=headers)).json()
    assert one == found[0]
    assert (await client.get(f"/api/v1/syncs/{new_id()}", headers=headers)).status_code == 404


async def test_audit_events_are_read_and_that_they_were_is_one_itself(client, bearer, item_id):
    await seal_outbox(resources_of(client).database)
    headers = bearer("audit:read")
    found = (await client.get("/api/v1/audit-events", params={"resource": f"item:{item_id}"}, headers=headers)).json()
    assert [(one["seq"], one["event_type"]) for one in found["data"]] == [(1, "operator:item:registered")]
    assert found["data"][0]["prev_hash"] == "00" * 32
    await seal_outbox(resources_of(client).database)
    again = (await client.get("/api/v1/audit-events?limit=1", headers=headers)).json()["data"]
    assert (again[0]["event_type"], again[0]["actor"]) == ("operator:audit:read", "token:ops")


async def test_an_idempotency_key_makes_a_post_count_once(client, bearer, item_id):
    headers = bearer("items:write") | {"Idempotency-Key": "k1"}
    path = f"/api/v1/items/{item_id}/sync"
    answers = [await client.post(path, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.text for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
    asked = "SELECT count(*) FROM audit_outbox WHERE event_type = 'operator:sync:requested'"
    assert await rows(client, asked) == [{"count": 1}]
    other = await client.post(path, json={"repaired": True}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:manna-sync:problem:idempotency-key-reused")
    theirs = bearer("items:write", subject="somebody else") | {"Idempotency-Key": "k1"}
    assert (await client.post(path, json={"repaired": True}, headers=theirs)).status_code == 202
    assert (await client.post(path, headers=headers | {"Idempotency-Key": "x" * 129})).status_code == 400
    two = [*bearer("items:write").items(), ("Idempotency-Key", "k2"), ("Idempotency-Key", "k3")]
    assert (await client.post(path, headers=two)).status_code == 400


async def test_of_two_posts_at_once_with_one_key_one_is_told_to_wait(client, bearer, item_id):
    headers = bearer("items:write") | {"Idempotency-Key": "k1"}
    path = f"/api/v1/items/{item_id}/sync"
    async with resources_of(client).database.connection() as connection:
        await connection.execute(text("UPDATE plaid_items SET version = version"))
        both = [asyncio.create_task(client.post(path, headers=headers)) for _ in range(2)]
        done, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert [answer.result().status_code for answer in done] == [409]
    assert [(await answer).status_code for answer in waiting] == [202]


async def test_a_failure_of_ours_gives_the_key_back(client, bearer, item_id):
    headers = bearer("items:write") | {"Idempotency-Key": "k1"}
    path = f"/api/v1/items/{item_id}/sync"
    await rows(client, "ALTER TABLE plaid_items RENAME TO gone")
    assert (await client.post(path, headers=headers)).status_code == 503
    await rows(client, "ALTER TABLE gone RENAME TO plaid_items")
    assert (await client.post(path, headers=headers)).status_code == 202


async def test_without_a_signing_key_the_api_is_closed_and_webhooks_are_not(settings, monkeypatch):
    monkeypatch.delenv("JWT_SIGNING_KEY", raising=False)
    async with opened(settings) as client:
        answer = await client.get("/api/v1/items", headers={"Authorization": "Bearer x"})
        assert answer.status_code == 401
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"), [("/api/v1/items", "GET, POST"), ("/api/v1/items/{id}", "DELETE, GET"), ("/health", "GET")]
)
async def test_a_method_that_is_not_taken_is_told_all_that_are(client, bearer, item_id, path, allowed):
    answer = await client.put(path.format(id=item_id), headers=bearer("items:read"))
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
