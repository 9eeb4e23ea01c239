"""The lease while the way to Redis breaks."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import make_url

from core.errors import RetryLaterError
from core.identity import new_id
from core.locking import DistributedLock
from core.locking.pipelined import PipelinedScripts
from core.locking.redis_lock import ACQUIRE, RELEASE, RENEW, item_lease, keys_of
from core.models import SyncTrigger
from core.sync.lease import lease_item

LEASE, *_ = keys_of("item:1")
RENEWED_SECONDS = 20


@asynccontextmanager
async def way_that_loses_an_answer(redis_url):
    """Give the address of a way to Redis that breaks once: a script was run, and its answer does not arrive."""
    redis, told = make_url(redis_url), []

    async def pass_back(from_redis, writer):
        while (answer := await from_redis.read(65536)) and told != ["asked"]:
            writer.write(answer)
        told.append("lost")
        writer.close()

    async def pass_on(reader, writer):
        from_redis, to_redis = await asyncio.open_connection(redis.host, redis.port)
        passing_back = asyncio.create_task(pass_back(from_redis, writer))
        with suppress(ConnectionError):
            while request := await reader.read(65536):
                told.extend(["asked"] if b"EVAL" in request and not told else [])
                to_redis.write(request)
        to_redis.close()
        await passing_back

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield redis.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    server.close()
    assert told[:2] == ["asked", "lost"]


async def test_a_lease_that_was_given_is_held_although_its_answer_was_lost(redis_url):
    again = Retry(NoBackoff(), 1)
    async with way_that_loses_an_answer(redis_url) as url, Redis.from_url(url, retry=again) as redis:
        lease = DistributedLock(PipelinedScripts(redis), "item:1")
        assert await lease.try_acquire()
        assert not await DistributedLock(redis, "item:1").try_acquire(leave_notice=True)
        await lease.release()
        assert lease.notice_left
        assert await DistributedLock(redis, "item:1").try_acquire()


class Scripts:
    """Redis, away for so many scripts of a kind; tells of each renewal that has ended."""

    def __init__(self, redis, away_for=None, times=0):
        self.redis = redis
        self.away_for = away_for
        self.left = times
        self.renewals = asyncio.Queue()

    async def eval(self, script, *arguments):
        try:
            if script == self.away_for and self.left:
                self.left -= 1
                raise RedisConnectionError("Error 111 connecting")
            return await self.redis.eval(script, *arguments)
        finally:
            if script == RENEW:
                self.renewals.put_nowait(None)

    async def renewed(self):
        """Return once a renewal has ended that began after this call."""
        for _ in range(2 + self.renewals.qsize()):
            await asyncio.wait_for(self.renewals.get(), RENEWED_SECONDS)


@asynccontextmanager
async def held_lease(scripts):
    """A lease that is renewed thirty times a second."""
    lease = DistributedLock(scripts, "item:1", ttl_seconds=0.1)
    assert await lease.try_acquire()
    try:
        yield lease
    finally:
        await lease.release()


async def test_a_lease_that_redis_forgot_is_taken_again(redis_url):
    async with Redis.from_url(redis_url) as redis:
        scripts = Scripts(redis)
        async with held_lease(scripts) as lease:
            await redis.delete(LEASE)
            await scripts.renewed()
            lease.ensure_held()


async def test_a_lease_that_another_has_is_lost_and_is_not_given_back_over_his_head(redis_url):
    async with Redis.from_url(redis_url) as redis:
        scripts = Scripts(redis)
        async with held_lease(scripts) as lease:
            await redis.set(LEASE, "another's")
            for _ in range(3):
                if not lease.lost:
                    await asyncio.wait_for(scripts.renewals.get(), RENEWED_SECONDS)
            with pytest.raises(RetryLaterError, match="LEASE_LOST"):
                lease.ensure_held()
        assert await redis.get(LEASE) == b"another's"


async def test_a_lease_is_not_lost_while_redis_is_away(redis_url):
    async with Redis.from_url(redis_url) as redis:
        scripts = Scripts(redis, RENEW, times=2)
        async with held_lease(scripts) as lease:
            await scripts.renewed()
            await scripts.renewed()
            assert scripts.left == 0
            lease.ensure_held()


async def test_a_sync_gives_its_lease_back_once_redis_is_there_again(resources):
    """Left behind, it would keep everybody from the Item for its time to live."""
    away = Scripts(resources.redis, RELEASE, times=1)
    kept_from = replace(resources, lease=lambda item_id: DistributedLock(away, item_lease(item_id)))
    item_id = new_id()
    async with lease_item(kept_from, item_id, SyncTrigger.SCHEDULED) as lease:
        assert lease is not None
    assert away.left == 0
    assert not await resources.redis.exists(keys_of(item_lease(item_id))[0])


async def test_a_sync_waits_for_its_lease_while_redis_is_away(resources):
    away = Scripts(resources.redis, ACQUIRE, times=1)
    kept_from = replace(resources, lease=lambda item_id: DistributedLock(away, item_lease(item_id)))
    async with lease_item(kept_from, new_id(), SyncTrigger.SCHEDULED) as lease:
        assert lease is not None
