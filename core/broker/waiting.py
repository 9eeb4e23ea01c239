"""What waits on the queues: how much, and how long the oldest of it."""

import time
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis

from core.broker.messages import Queue
from core.broker.publisher import SENT_AT


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue's depth, and for how many seconds its oldest message waits; None when it does not tell."""

    messages: int
    oldest_seconds: float | None


async def read_waiting(redis: Redis) -> dict[Queue, Waiting]:
    """Return what waits on every queue, in the order in which a worker serves them.

    Raises:
        RedisError: the broker does not answer.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for queue in Queue:
            pipe.llen(queue.value)
            pipe.lindex(queue.value, -1)
        found = await pipe.execute()
    pairs = zip(found[::2], found[1::2], strict=True)
    return {queue: Waiting(depth, _waited(raw)) for queue, (depth, raw) in zip(Queue, pairs, strict=True)}


def _waited(raw: bytes | None) -> float | None:
    if raw is None:
        return 0.0
    try:
        sent_at = msgspec.json.decode(raw)["headers"][SENT_AT]
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None
    return max(0.0, time.time() - float(sent_at))
