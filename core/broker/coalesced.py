"""Traces that share a sync: a notice that needed no message of its own leaves word here, and that sync links to it.

Used only where tracing is on. A word that is lost costs a link, so Redis' failures end here.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

KEPT = 32
SECONDS = 600


async def leave_traces(redis: Redis, item_id: UUID, traces: Sequence[str]) -> None:
    """Leave traces for the Item's next sync; of a burst the latest 32."""
    if not traces:
        return
    try:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.rpush(_key(item_id), *traces)
            pipe.ltrim(_key(item_id), -KEPT, -1)
            pipe.expire(_key(item_id), SECONDS)
            await pipe.execute()
    except RedisError as error:
        log.warning("traces_not_left", error=type(error).__name__)


async def take_traces(redis: Redis, item_id: UUID) -> list[str]:
    """Return what was left for this sync, and leave nothing."""
    try:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.lrange(_key(item_id), 0, -1)
            pipe.delete(_key(item_id))
            left, _ = await pipe.execute()
    except RedisError as error:
        log.warning("traces_not_taken", error=type(error).__name__)
        return []
    return [one.decode() for one in left]


def _key(item_id: UUID) -> str:
    return f"traces:{{item:{item_id}}}"
