"""Two beats: one leads, and when it goes the other takes over; no entry is sent twice for a tick, and none is lost."""

import asyncio
import json
import signal
import time
from collections import Counter
from datetime import datetime

import pytest
from redis.asyncio import Redis

from core.heartbeat import BEAT_LEADER_KEY
from core.settings import load_settings
from devstack.stack import CELERY
from worker.leadership import LEASE_SECONDS, TICKS_KEY

DISPATCH, PRUNE = "sync.dispatch_due", "maintenance.prune"
EVERY_SECONDS = 0.5
TICKS = 6


class Beats:
    """Two beats and nobody who takes their messages: what they sent lies on the queues, in order."""

    def __init__(self, stage, redis) -> None:
        self.stage = stage
        self.redis = redis

    def start(self, name):
        self.stage.start(name, [*CELERY, "beat", "-s", str(self.stage.logs / name)], "Starting")

    async def leader(self):
        """Which of them leads; None while none does."""
        found = await self.redis.get(BEAT_LEADER_KEY)
        pids = {str(pid): name for name, pid in self.stage._pids.items()}
        return None if found is None else pids[found.decode().split(":")[1]]

    async def sent(self):
        """When each message was sent, by task, in Unix seconds."""
        raw = [json.loads(one)["headers"] for one in await self.redis.lrange("maintenance", 0, -1)]
        return [
            datetime.fromisoformat(one["expires"]).timestamp() - EVERY_SECONDS
            for one in reversed(raw)
            if one["task"] == DISPATCH
        ]

    async def count(self, task):
        raw = await self.redis.lrange("maintenance", 0, -1)
        return Counter(json.loads(one)["headers"]["task"] for one in raw)[task]

    async def until(self, question):
        async with asyncio.timeout(60):
            while not await question():
                # Redis itself waits a little between the questions.
                await self.redis.blpop("nothing-comes-here", timeout=0.05)

    async def tick(self):
        """Wait for some more ticks."""
        goal = await self.count(DISPATCH) + TICKS

        async def reached():
            return await self.count(DISPATCH) >= goal

        await self.until(reached)

    async def other_leads(self, name):
        async def reached():
            return await self.leader() not in {None, name}

        await self.until(reached)

    async def assert_no_tick_twice(self):
        sent = await self.sent()
        assert len(sent) - 1 <= (sent[-1] - sent[0]) / EVERY_SECONDS + 1


@pytest.fixture
async def beats(stage):
    async with Redis.from_url(load_settings().redis_url) as redis:
        yield Beats(stage, redis)


async def test_the_leader_is_killed_and_the_other_takes_over(beats):
    # An hourly entry that nobody has sent for two hours: it is due at once, and once.
    await beats.redis.hset(TICKS_KEY, "prune", str(time.time() - 7200))
    beats.start("one")
    beats.start("two")
    await beats.tick()
    first = await beats.leader()
    await beats.assert_no_tick_twice()
    assert await beats.count(PRUNE) == 1

    before = float(await beats.redis.hget(TICKS_KEY, "dispatch-due-items"))
    beats.stage.signal(first, signal.SIGKILL)
    await beats.other_leads(first)
    await beats.tick()
    second = await beats.leader()
    assert second != first
    await beats.assert_no_tick_twice()
    assert await beats.count(PRUNE) == 1
    resumed = min(at for at in await beats.sent() if at > before + EVERY_SECONDS / 2)
    assert resumed - before < LEASE_SECONDS + 10
    assert beats.stage.supervisor.exited(second) is None


async def test_a_leader_that_slept_through_its_lease_finds_the_other_leading(beats):
    beats.start("one")
    beats.start("two")
    await beats.tick()
    first = await beats.leader()
    beats.stage.signal(first, signal.SIGSTOP)
    await beats.other_leads(first)
    beats.stage.signal(first, signal.SIGCONT)
    beats.stage.supervisor.wait_ready(first, lambda: "beat_looks_on" in beats.stage.said(first))
    await beats.tick()
    assert await beats.leader() != first
    await beats.assert_no_tick_twice()


async def test_a_leader_that_is_asked_to_stop_hands_over_at_once(beats):
    beats.start("one")
    beats.start("two")
    await beats.tick()
    first = await beats.leader()
    beats.stage.signal(first, signal.SIGTERM)
    assert beats.stage.exited(first) == 0
    # Not after its lease: it has given it back.
    assert await beats.leader() != first
    await beats.other_leads(first)
    await beats.tick()
    await beats.assert_no_tick_twice()
