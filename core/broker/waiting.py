"""What waits on the queues: how much, and how long the oldest of it."""

import time
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis

from core.broker.messages import Queue
from core.broker.publisher import SENT_AT
from core.broker.rabbitmq import is_rabbitmq, read_depths
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue's depth, and for how many seconds its oldest message waits; None where that is not told, by RabbitMQ."""

    messages: int
    oldest_seconds: float | None


async def read_waiting(settings: Settings, redis: Redis) -> dict[Queue, Waiting]:
    """Return what waits on every queue, in the order in which a worker serves them.

    Raises:
        RedisError: Redis is the broker and does not answer.
        ConnectionError: RabbitMQ is, and does not.
    """
    if is_rabbitmq(settings):
        depths = await read_depths(settings)
        return {queue: Waiting(depth, None if depth else 0.0) for queue, depth in depths.items()}
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
