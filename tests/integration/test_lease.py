"""The lease while the way to Redis breaks."""

import asyncio
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import make_url

from core.locking import DistributedLock
from core.locking.pipelined import PipelinedScripts


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
