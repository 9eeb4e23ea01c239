"""Health: what it tells, to whom, and that it tells it at once."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from core.broker.messages import Queue
from core.heartbeat import keep_beating
from web import probes
from web.probes import Finding, Probe


@pytest.fixture
def patience(monkeypatch):
    """Time for the parts to answer on a machine that has more to do."""
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 30)


@pytest.fixture
async def working(client, patience):
    """A worker's sign of life."""
    redis = client.app.state.services.resources.redis
    beaten = asyncio.Event()

    class Watched:
        """Redis, telling when the first sign of life is whole."""

        zadd = redis.zadd

        async def zremrangebyscore(self, *arguments):
            await redis.zremrangebyscore(*arguments)
            beaten.set()

    beating = asyncio.create_task(keep_beating(Watched()))
    await beaten.wait()
    yield
    beating.cancel()


async def test_a_stranger_is_told_states_and_no_more(client, working):
    told = (await client.get("/health")).json()
    assert told == {
        "status": "healthy",
        "security": {
            "encryption_enabled": True,
            "security_headers": True,
            "rate_limiting": True,
            "audit_logging": True,
        },
        "parts": dict.fromkeys(("database", "redis", "broker", "workers", "audit", "encryption"), "ok"),
    }


async def test_whoever_shows_a_token_is_told_more(client, bearer, working):
    parts = (await client.get("/health", headers=bearer("items:read"))).json()["parts"]
    assert parts["workers"]["alive"] == 1
    assert parts["broker"]["waiting"] == {queue.value: 0 for queue in Queue}
    assert parts["database"]["milliseconds"] > 0


async def test_without_a_worker_the_service_is_degraded_and_still_ready(client, patience):
    told = (await client.get("/health")).json()
    assert (told["status"], told["parts"]["workers"]) == ("degraded", "missing")
    assert (await client.get("/health/ready")).status_code == 200


async def test_without_a_database_it_is_not_ready_and_alive(client, patience):

    async def gone():
        raise OSError("the database is gone")

    client.app.state.services.probes._probes["database"] = Probe(gone)
    assert (await client.get("/health")).json()["status"] == "unhealthy"
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/live")).status_code == 200


async def test_a_part_that_hangs_is_asked_once_and_not_waited_for():
    asked, gate = [], asyncio.Event()

    async def hang():
        asked.append(1)
        await gate.wait()
        return Finding("ok")

    probe = Probe(hang)
    assert [(await probe.find()).state for _ in range(3)] == ["hanging"] * 3
    assert len(asked) == 1
    gate.set()
    assert (await probe.find()).state == "ok"


async def test_a_part_that_fails_says_so():
    async def fail():
        raise RedisConnectionError("with an address in it")

    found = await Probe(fail).find()
    assert (found.state, found.details) == ("failing", {"error": "ConnectionError"})
