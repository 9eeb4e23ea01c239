"""What stands around every answer: headers, limits, sizes, times, ids, HTTPS."""

import asyncio
import json

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from core.settings import load_settings
from tests.web.conftest import opened
from web.limits import Counter, Limit
from web.middleware.body_limit import BodyLimit
from web.middleware.request_id import RequestId
from web.middleware.security_headers import REMOVED, SecurityHeaders

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "x-permitted-cross-domain-policies": "none",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store, max-age=0",
}


def answering(status=200, headers=(), body=b"{}"):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return app


async def ask(app, method="GET", path="/", **request):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(method, path, **request)


@pytest.mark.parametrize("status", [200, 201, 204, 301, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 502, 503])
async def test_the_headers_are_on_every_status(status):
    given = [(b"Server", b"x"), (b"X-Powered-By", b"y"), (b"content-type", b"application/json")]
    answer = await ask(SecurityHeaders(answering(status, given), https=False))
    assert EVERYWHERE.items() <= dict(answer.headers).items()
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert not {name.encode() for name in answer.headers} & REMOVED
    assert "strict-transport-security" not in answer.headers
    assert "camera=()" in answer.headers["permissions-policy"]


async def test_a_page_may_load_its_own_and_nothing_inline_and_its_own_caching_stands():
    given = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"max-age=60")]
    answer = await ask(SecurityHeaders(answering(headers=given), https=True))
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "upgrade-insecure-requests" in policy
    assert answer.headers["cache-control"] == "max-age=60"
    assert answer.headers["strict-transport-security"].startswith("max-age=63072000")


async def test_real_answers_of_every_kind_carry_them(client, bearer):
    token = bearer()
    answers = [
        await client.get("/health/live"),
        await client.get("/nowhere"),
        await client.get("/api/v1/items"),
        await client.get("/api/v1/items?limit=0", headers=token),
        await client.put("/api/v1/items", headers=token),
        await client.post("/webhooks/plaid", content=b"{}"),
        await client.post("/webhooks/plaid", content=b"x" * 70_000),
        await client.get("/openapi.json"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 401, 422, 405, 401, 413, 200]
    for answer in answers:
        assert EVERYWHERE.items() <= dict(answer.headers).items(), answer.url
        assert answer.headers["x-request-id"]
    assert {answer.headers["content-type"] for answer in answers[1:7]} == {"application/problem+json"}


async def test_a_crash_is_a_problem_document_and_one_log_line(capfd):
    async def crash(scope, receive, send):
        raise RuntimeError("access-sandbox-secret in a place where none should be")

    answer = await ask(SecurityHeaders(RequestId(crash), https=False), headers={"X-Request-ID": "req-1"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "req-1")
    assert answer.headers["x-frame-options"] == "DENY"
    assert "secret" not in answer.text


@pytest.mark.parametrize("given", ["a b", "x" * 65, "é", "a\u2028b", "{}"])
async def test_a_request_id_that_is_no_plain_word_is_replaced(given):
    answer = await ask(RequestId(answering()), headers={b"X-Request-ID": given.encode()})
    assert len(answer.headers["x-request-id"]) == 36


def sent_in_parts(*parts, then_silence=False):
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting += [] if then_silence else [{"type": "http.request", "body": b"", "more_body": False}]
    sent = []

    async def receive():
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    return receive, send, sent


@pytest.mark.parametrize(("parts", "status"), [((b"x" * 600, b"x" * 400), 200), ((b"x" * 600, b"x" * 401), 413)])
async def test_a_body_is_bounded_as_it_arrives_whatever_its_length_was_said_to_be(parts, status):
    receive, send, sent = sent_in_parts(*parts)
    scope = {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}
    await BodyLimit(answering(), max_bytes=1000)(scope, receive, send)
    assert sent[0]["status"] == status


async def test_a_body_that_does_not_arrive_is_not_waited_for():
    receive, send, sent = sent_in_parts(b"{", then_silence=True)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"2")]}
    await BodyLimit(answering(), seconds=0.01)(scope, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_plain_http_is_refused_but_for_health_and_recorded(web_settings, monkeypatch, bearer):
    monkeypatch.setenv("REQUIRE_HTTPS", "true")
    async with opened(load_settings()) as client:
        refused = await client.get("/api/v1/items", headers=bearer())
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:manna-sync:problem:https-required")
        assert refused.headers["strict-transport-security"]
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("https://test/api/v1/items", headers=bearer())).status_code == 200
        async with client.app.state.services.resources.database.connection() as connection:
            reasons = (await connection.execute(text("SELECT context ->> 'reason' FROM audit_outbox"))).scalars().all()
    assert reasons == ["https_required"]


@pytest.fixture
def few_requests(web_settings, monkeypatch):
    """Limits low enough to be met: ten reads a minute."""
    monkeypatch.setenv("API_RATE_PER_MINUTE", "10")
    return load_settings()


async def test_whoever_asks_too_often_is_told_when_to_come_again(few_requests, bearer):
    async with opened(few_requests) as client:
        headers = bearer("items:read")
        answers = [await client.get("/api/v1/items", headers=headers) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert answers[0].headers["ratelimit"].startswith('"api-read";r=9;t=')
        assert answers[0].headers["ratelimit-policy"] == '"api-read";q=10;w=60'
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        other = await client.get("/api/v1/items", headers=bearer("items:read", subject="somebody else"))
        assert other.status_code == 200
        async with client.app.state.services.resources.database.connection() as connection:
            recorded = await connection.execute(text("SELECT actor, context ->> 'limit' FROM audit_outbox"))
            assert [tuple(row) for row in recorded] == [("token:ops", "api-read")]


async def test_guessing_tokens_is_slow(few_requests):
    async with opened(few_requests) as client:
        guesses = [await client.get("/api/v1/items", headers={"Authorization": f"Bearer {n}"}) for n in range(3)]
        assert [answer.status_code for answer in guesses] == [401, 429, 429]


async def test_a_forged_forwarded_for_gains_nothing(few_requests):
    async with opened(few_requests) as client:
        statuses = []
        for number in range(200):
            forged = f"203.0.113.{number}" if number % 2 else f"10.0.0.1, 2001:db8::{number:x}, unknown, [::1]:{number}"
            name = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP")[number % 4]
            statuses.append((await client.get("/nowhere", headers={name: forged})).status_code)
        async with client.app.state.services.resources.database.connection() as connection:
            recorded = await connection.execute(
                text("SELECT event_type, actor, context ->> 'ip_address', count(*) FROM audit_outbox GROUP BY 1, 2, 3")
            )
            refused = [tuple(row) for row in recorded]
    assert statuses == [404] * 20 + [429] * 180
    assert refused == [("auth:request:rate_limited", "ip:198.51.100.7", "198.51.100.7", 180)]


async def test_behind_a_trusted_proxy_the_last_address_that_it_saw_counts(few_requests, monkeypatch):
    monkeypatch.setenv("TRUSTED_PROXIES", "198.51.100.0/24")
    async with opened(load_settings()) as client:
        for number in range(21):
            forwarded = {"X-Forwarded-For": f"192.0.2.{number}, 203.0.113.5"}
            last = await client.get("/nowhere", headers=forwarded)
        assert last.status_code == 429
        other = await client.get("/nowhere", headers={"X-Forwarded-For": "203.0.113.5, 203.0.113.6"})
        assert other.status_code == 404


async def test_without_redis_requests_are_still_counted_and_none_fails():
    nobody = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.05)
    counter, limit = Counter(nobody), Limit("few", "address", 3)
    standings = [await counter.hit(limit, "203.0.113.5") for _ in range(5)]
    assert [standing.allowed for standing in standings] == [True, True, True, False, False]
    assert (await counter.hit(limit, "203.0.113.6")).allowed
    await nobody.aclose()


async def test_control_characters_of_a_caller_reach_neither_answer_nor_audit(client, bearer):
    nasty = "a%0d%0ab%1b%5b31m%e2%80%a8"
    answer = await client.get(f"/api/v1/items/{nasty}?user_id={nasty}", headers=bearer())
    assert answer.status_code == 422
    assert "\n" not in json.dumps(answer.json())
    await client.get(f"/{nasty}", headers={"Authorization": "Bearer x\x1b[31m"})
    async with client.app.state.services.resources.database.connection() as connection:
        kept = (await connection.execute(text("SELECT actor || resource || context::text FROM audit_outbox"))).scalars()
        assert all(one.isprintable() for one in kept)
