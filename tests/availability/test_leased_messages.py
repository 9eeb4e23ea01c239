"""A message belongs to the worker that has it for as long as that lives, and goes back to its queue soon after."""

import time

import pytest
from kombu import Connection

from core.broker.redis_transport import LEASE_SECONDS, install_redis_transport
from core.broker.transport import celery_settings
from core.settings import load_settings

QUEUE = "sync.webhook"
UNACKED = "unacked_index"


@pytest.fixture
def broker(settings):
    install_redis_transport()
    given = celery_settings(load_settings())

    def connect():
        return Connection(given["broker_url"], transport_options=given["broker_transport_options"])

    with connect() as sender, sender.SimpleQueue(QUEUE) as queue:
        queue.put({"item_id": "i1"})
    return connect


def take(connection):
    """Take the message as a worker would, and keep it."""
    channel = connection.default_channel
    assert channel.basic_get(QUEUE) is not None
    return channel


async def age(redis):
    """Let the lease's time pass without anybody saying a word."""
    (tag,) = await redis.zrange(UNACKED, 0, -1)
    await redis.zadd(UNACKED, {tag: time.time() - LEASE_SECONDS - 1})


async def test_what_a_dead_worker_had_goes_back_to_its_queue(broker, resources):
    with broker() as dead, broker() as living:
        take(dead)
        living.default_channel.qos.restore_visible(num=10, interval=1)
        assert await resources.redis.llen(QUEUE) == 0
        await age(resources.redis)
        living.default_channel.qos.restore_visible(num=10, interval=1)
        assert await resources.redis.llen(QUEUE) == 1
        assert await resources.redis.zcard(UNACKED) == 0


async def test_a_living_worker_keeps_what_it_has_however_long_it_takes(broker, resources):
    with broker() as slow, broker() as other:
        channel = take(slow)
        await age(resources.redis)
        channel.qos.restore_visible(num=10, interval=1)
        other.default_channel.qos.restore_visible(num=10, interval=1)
        assert await resources.redis.llen(QUEUE) == 0
        assert await resources.redis.zcard(UNACKED) == 1


async def test_what_was_acknowledged_meanwhile_is_not_brought_back_by_the_renewal(broker, resources):
    with broker() as slow:
        channel = take(slow)
        (tag,) = await resources.redis.zrange(UNACKED, 0, -1)
        # By another thread: its word has not come to this one's books.
        await resources.redis.zrem(UNACKED, tag)
        channel.qos.restore_visible(num=10, interval=1)
        assert await resources.redis.zcard(UNACKED) == 0
