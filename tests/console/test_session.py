"""Logging in, being let in, being kept out, logging out."""

import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from core.access.sessions import PREFIX
from core.identity import new_id
from core.settings import load_settings
from tests.console.conftest import csrf_of, resources_of, rows, text_of
from tests.web.conftest import opened

PAGES = {
    "/console": "items:read",
    "/console/items": "items:read",
    f"/console/items/{new_id()}": "items:read",
    "/console/runs": "syncs:read",
    f"/console/runs/{new_id()}": "syncs:read",
    "/console/replays": "syncs:read",
    "/console/replays/new": "syncs:replay",
    f"/console/replays/{new_id()}": "syncs:read",
    "/console/audit": "audit:read",
}
FORMS = {
    f"/console/items/{new_id()}/sync": "items:write",
    f"/console/items/{new_id()}/reconcile": "items:write",
    f"/console/items/{new_id()}/remove": "items:write",
    "/console/replays": "syncs:replay",
    f"/console/replays/{new_id()}/stop": "syncs:replay",
    f"/console/replays/{new_id()}/resume": "syncs:replay",
    "/console/audit/verify": "audit:read",
}
SCOPES = {"items:read", "items:write", "syncs:read", "syncs:replay", "audit:read"}


async def test_whoever_is_not_logged_in_is_led_to_the_log_in_page_and_back(client, token_for):
    for page in PAGES:
        answer = await client.get(page)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/login?next=%2Fconsole")
    shown = await client.get("/console/login?next=/console/items%3Fstatus%3Derror")
    assert 'value="/console/items?status=error"' in shown.text
    data = {"token": token_for(), "next": "/console/items?status=error"}
    assert (await client.post("/console/login", data=data)).headers["location"] == "/console/items?status=error"
    assert (await client.get("/console/items?status=error")).status_code == 200


async def test_every_page_and_every_form_wants_its_scope_and_refusals_are_recorded(client, enter):
    for page, scope in PAGES.items():
        await enter(*(SCOPES - {scope}), subject="junior")
        refused = await client.get(page)
        assert (refused.status_code, scope in refused.text) == (403, True), page
    for path, scope in FORMS.items():
        await enter(*(SCOPES - {scope}), subject="junior")
        assert (await client.post(path, data={"csrf": "x"})).status_code == 403, path
    recorded = await rows(
        client, "SELECT actor, count(*) FROM audit_outbox WHERE event_type = 'auth:access:denied' GROUP BY 1"
    )
    assert recorded == [{"actor": "token:junior", "count": len(PAGES) + len(FORMS)}]


async def test_a_form_without_the_sessions_own_word_is_refused(operator, log_in):
    foreign = csrf_of(await operator.get("/console"))
    await log_in()
    for path in FORMS:
        for word in ("", foreign, "x" * 43):
            assert (await operator.post(path, data={"csrf": word})).status_code == 403, path
    reasons = await rows(
        operator,
        "SELECT DISTINCT context ->> 'reason' AS reason FROM audit_outbox WHERE event_type = 'auth:access:denied'",
    )
    assert reasons == [{"reason": "csrf"}]


async def test_a_form_that_another_site_sends_is_refused_at_the_log_in_too(operator, token_for):
    word = csrf_of(await operator.get("/console"))
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        assert (await operator.post("/console/audit/verify", data={"csrf": word}, headers=headers)).status_code == 403
        assert (await operator.post("/console/login", data={"token": token_for()}, headers=headers)).status_code == 403
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
    assert (await operator.post("/console/audit/verify", data={"csrf": word}, headers=own)).status_code == 303


async def test_a_token_that_does_not_hold_opens_nothing_and_is_recorded(client, token_for):
    for token in ("", "wrong-token", token_for(ttl=1, now=1_000), "y" * 5000):
        answer = await client.post("/console/login", data={"token": token})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert not token or token not in answer.text
    recorded = await rows(client, "SELECT event_type, actor FROM audit_outbox")
    assert recorded == [{"event_type": "auth:login:failed", "actor": "ip:198.51.100.7"}] * 4


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(web_settings, monkeypatch, token_for):
    monkeypatch.setenv("SECURE_COOKIES", "true")
    async with opened(load_settings()) as client:
        answer = await client.post("/console/login", data={"token": token_for()})
        cookie = answer.headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "__Host-manna-console"
    assert {part.strip() for part in rest.split(";")[1:]} == {"HttpOnly", "Path=/", "SameSite=strict", "Secure"}


async def test_the_session_holds_neither_the_token_nor_the_cookies_word(operator, token_for):
    redis = resources_of(operator).redis
    (name,) = [key async for key in redis.scan_iter(f"{PREFIX}*")]
    kept = (name + await redis.get(name)).decode()
    (word,) = operator.cookies.values()
    assert word not in kept
    assert token_for().split(".")[2] not in kept
    assert 0 < await redis.ttl(name) <= 1800


async def test_a_page_that_updates_itself_does_not_keep_its_session_alive(operator):
    redis = resources_of(operator).redis
    (name,) = [key async for key in redis.scan_iter(f"{PREFIX}*")]
    await redis.expire(name, 100)
    assert (await operator.get("/console", headers={"X-Console-Live": "1"})).status_code == 200
    assert await redis.ttl(name) <= 100
    await operator.get("/console")
    assert await redis.ttl(name) > 100


async def test_logging_out_ends_the_session_everywhere(operator):
    (word,) = operator.cookies.values()
    answer = await operator.post("/console/logout", data={"csrf": csrf_of(await operator.get("/console"))})
    assert answer.headers["location"] == "/console/login?done=logout"
    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    operator.cookies.set("manna-console", word)
    assert (await operator.get("/console")).status_code == 303
    recorded = await rows(operator, "SELECT event_type, actor FROM audit_outbox ORDER BY id")
    assert [tuple(one.values()) for one in recorded] == [
        ("auth:login:succeeded", "token:ops"),
        ("auth:session:ended", "token:ops"),
    ]


async def test_a_session_ends_with_its_token(client, enter):
    # Within the leeway for clocks that differ a token is taken, a session of it is not: it has no time left.
    await enter("items:read", ttl=2, now=time.time() - 4)
    assert (await client.get("/console")).status_code == 303


async def test_a_session_ends_with_the_key_that_signed_its_token(operator, monkeypatch):
    monkeypatch.setenv("JWT_SIGNING_KEY", "another-key-of-at-least-32-bytes-in-length")
    await resources_of(operator).secrets.refresh()
    await operator.app.state.services.signing_keys.refresh()
    assert (await operator.get("/console")).status_code == 303


async def test_guessing_tokens_is_slow(client):
    answers = [await client.post("/console/login", data={"token": "x"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]


async def test_a_bearer_token_opens_no_page_and_the_cookie_no_api(operator, bearer):
    assert (await operator.get("/api/v1/items")).status_code == 401
    operator.cookies.clear()
    assert (await operator.get("/console", headers=bearer())).status_code == 303


async def test_a_link_from_another_site_comes_again_by_itself(operator):
    operator.cookies.clear()
    answer = await operator.get("/console/items?status=error", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0">' in answer.text
    assert (await operator.get("/console/items", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 303


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/console//evil\\",
        "/consoled",
        "javascript:alert(1)",
        "/console\r\nSet-Cookie: a=b",
    ],
)
async def test_after_the_log_in_nobody_is_led_elsewhere(client, token_for, elsewhere):
    answer = await client.post("/console/login", data={"token": token_for(), "next": elsewhere})
    assert answer.headers["location"] == "/console"


async def test_pages_keep_the_policy_and_files_may_be_kept(operator):
    page = await operator.get("/console")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"].startswith("no-store")
    # What the policy would forbid is not in any page: no style, no handler, no script of its own.
    assert not any(mark in page.text for mark in (" style=", "<style", " onclick=", "<script>", "javascript:"))
    for name in ("console.css", "console.js", "icon.svg"):
        (address,) = {word for word in page.text.split('"') if word.startswith(f"/console/static/{name}?v=")}
        file = await operator.get(address)
        assert (file.status_code, "immutable" in file.headers["cache-control"]) == (200, True)


async def test_what_goes_wrong_is_told_on_a_page(operator):
    for path, status in (
        ("/console/nothing", 404),
        (f"/console/items/{new_id()}", 404),
        ("/console/items/x", 422),
        ("/console/items?cursor=x", 422),
        ("/console/items?status=x", 422),
        ("/console/static/../app.py", 404),
    ):
        answer = await operator.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
    assert (await operator.post("/console/login", json={})).status_code == 415


async def test_without_redis_a_page_says_so(operator, monkeypatch):
    async def away(*_, **__):
        raise RedisConnectionError

    monkeypatch.setattr(resources_of(operator).redis, "getex", away)
    answer = await operator.get("/console")
    assert answer.status_code == 503
    assert "manna doctor" in text_of(answer)
