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


@asynccontextmanager
async def held_lease(redis):
    """A lease that is renewed thirty times a second."""
    lease = DistributedLock(redis, "item:1", ttl_seconds=0.1)
    assert await lease.try_acquire()
    yield lease
    await lease.release()


async def test_a_lease_that_redis_forgot_is_taken_again_unless_another_has_it(redis_url):
    lease_key, *_ = keys_of("item:1")
    async with Redis.from_url(redis_url) as redis, held_lease(redis) as lease, asyncio.timeout(30):
        await redis.delete(lease_key)
        while not await redis.exists(lease_key):
            pass
        lease.ensure_held()
        await redis.set(lease_key, "another's")
        while not lease.lost:
            await redis.ping()
        with pytest.raises(RetryLaterError, match="LEASE_LOST"):
            lease.ensure_held()
    async with Redis.from_url(redis_url) as redis:
        # Nor was it given back over the other's head.
        assert await redis.get(lease_key) == b"another's"


class Away:
    """Redis, away for so many scripts of a kind."""

    def __init__(self, redis, script, times):
        self.redis = redis
        self.script = script
        self.left = times

    async def eval(self, script, *arguments):
        if script == self.script and self.left:
            self.left -= 1
            raise RedisConnectionError("Error 111 connecting")
        return await self.redis.eval(script, *arguments)


async def test_a_lease_is_not_lost_while_redis_is_away(redis_url):
    async with Redis.from_url(redis_url) as redis, asyncio.timeout(30):
        away = Away(redis, RENEW, times=2)
        async with held_lease(away) as lease:
            while away.left:
                await redis.ping()
            lease.ensure_held()


async def test_a_sync_gives_its_lease_back_once_redis_is_there_again(resources):
    """Left behind, it would keep everybody from the Item for its time to live."""
    away = Away(resources.redis, RELEASE, times=1)
    kept_from = replace(resources, lease=lambda item_id: DistributedLock(away, item_lease(item_id)))
    item_id = new_id()
    async with lease_item(kept_from, item_id, SyncTrigger.SCHEDULED) as lease:
        assert lease is not None
    assert away.left == 0
    assert not await resources.redis.exists(keys_of(item_lease(item_id))[0])


async def test_a_sync_waits_for_its_lease_while_redis_is_away(resources):
    away = Away(resources.redis, ACQUIRE, times=1)
    kept_from = replace(resources, lease=lambda item_id: DistributedLock(away, item_lease(item_id)))
    async with lease_item(kept_from, new_id(), SyncTrigger.SCHEDULED) as lease:
        assert lease is not None
