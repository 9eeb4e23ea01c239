"""A sign of life from every worker process, in Redis, for whoever asks whether work is being done."""

import asyncio
import os
import socket
import time

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

KEY = "heartbeats:workers"
# Which beat leads, `host:pid:…`, for as long as its lease lasts.
BEAT_LEADER_KEY = "{beat}:leader"
EVERY_SECONDS = 3.0
GONE_SECONDS = 10.0


async def keep_beating(redis: Redis) -> None:
    """Write this process's sign of life until cancelled; without Redis it is simply not seen."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    while True:
        try:
            await redis.zadd(KEY, {name: time.time()})
            await redis.zremrangebyscore(KEY, "-inf", time.time() - 10 * GONE_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("heartbeat_not_written", error=type(error).__name__)
        await asyncio.sleep(EVERY_SECONDS)


async def count_workers(redis: Redis) -> int:
    """Return how many worker processes have given a sign of life within ten seconds."""
    return int(await redis.zcount(KEY, time.time() - GONE_SECONDS, "+inf"))
