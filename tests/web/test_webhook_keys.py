"""Plaid's webhook keys: asked for once, kept through an outage, and no way to flood Plaid."""

import asyncio

import msgspec
import pytest

from core.errors import OperatorMustActError, RetryLaterError
from core.plaid import webhook_keys
from core.plaid.webhook_keys import FRESH_SECONDS, STALE_SECONDS, UNKNOWN_BURST, UNKNOWN_SECONDS, WebhookKeys


class KeyServer:
    """Knows some kids, counts what it is asked, and can be made to fail or to wait."""

    def __init__(self, *kids):
        self.kids, self.asked, self.time = set(kids), [], 1000.0
        self.failing, self.gate = False, None
        self.arrived = asyncio.Event()

    async def fetch(self, kid):
        self.asked.append(kid)
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failing:
            raise RetryLaterError("INTERNAL_SERVER_ERROR", error_type="API_ERROR")
        if kid not in self.kids:
            raise OperatorMustActError("INVALID_WEBHOOK_VERIFICATION_KEY_ID", error_type="INVALID_INPUT")
        key = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "alg": "ES256", "kid": kid, "expired_at": None}
        return msgspec.json.encode({"key": key})


@pytest.fixture
def server():
    return KeyServer("k1", "k2")


@pytest.fixture
async def keys(server):
    keys = WebhookKeys(server.fetch, lambda: server.time)
    yield keys
    await keys.close()


async def test_a_key_is_asked_for_once_while_it_is_fresh(server, keys):
    server.gate = asyncio.Event()
    waiting = [asyncio.create_task(keys.get("k1")) for _ in range(50)]
    await server.arrived.wait()
    server.gate.set()
    assert {(await one).kid for one in waiting} == {"k1"}
    server.time += FRESH_SECONDS - 1
    assert (await keys.get("k1")).kid == "k1"
    assert server.asked == ["k1"]


async def test_one_slow_key_keeps_no_other_waiting(server, keys):
    await keys.get("k2")
    server.gate = asyncio.Event()
    slow = asyncio.create_task(keys.get("k1"))
    assert (await keys.get("k2")).kid == "k2"
    server.gate.set()
    await slow


async def test_an_outage_leaves_known_keys_standing_for_a_day(server, keys):
    await keys.get("k1")
    server.failing = True
    server.time += STALE_SECONDS - 1
    assert (await keys.get("k1")).kid == "k1"
    server.time += 2
    with pytest.raises(RetryLaterError):
        await keys.get("k1")
    server.failing = False
    assert (await keys.get("k1")).kid == "k1"


async def test_a_key_that_plaid_has_withdrawn_is_gone_at_the_next_look(server, keys):
    await keys.get("k1")
    server.kids.clear()
    server.time += FRESH_SECONDS
    assert await keys.get("k1") is None


async def test_refreshing_asks_before_a_webhook_has_to_wait(server, keys):
    await keys.get("k1")
    server.time += FRESH_SECONDS * 0.6
    await keys.refresh()
    server.time += FRESH_SECONDS * 0.6
    await keys.get("k1")
    assert server.asked == ["k1", "k1"]


async def test_an_unknown_kid_is_remembered_for_a_while(server, keys):
    assert await keys.get("forged") is None
    assert await keys.get("forged") is None
    assert server.asked == ["forged"]
    server.time += UNKNOWN_SECONDS
    assert await keys.get("forged") is None
    assert len(server.asked) == 2


async def test_an_attackers_kids_are_rationed_and_known_keys_live_on(server, keys):
    await keys.get("k1")
    refused = 0
    for number in range(500):
        try:
            await keys.get(f"forged-{number}")
        except RetryLaterError:
            refused += 1
    assert len(server.asked) == UNKNOWN_BURST
    assert refused == 500 - UNKNOWN_BURST + 1
    assert (await keys.get("k1")).kid == "k1"
    server.time += 10
    assert (await keys.get("k2")).kid == "k2"


async def test_a_key_that_does_not_come_in_time_is_there_for_the_retry(server, keys, monkeypatch):
    monkeypatch.setattr(webhook_keys, "ASK_SECONDS", 0)
    server.gate = asyncio.Event()
    with pytest.raises(RetryLaterError):
        await keys.get("k1")
    server.gate.set()
    await asyncio.wait(keys._asking.values())
    assert (await keys.get("k1")).kid == "k1"
    assert server.asked == ["k1"]
