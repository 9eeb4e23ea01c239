"""The consumer: every event once, in order, whatever dies and when."""

import asyncio
import os
import signal
import sys
from dataclasses import replace

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy.exc import DBAPIError

from core.audit.consumer import consume
from core.audit.sink import seal_batch, seal_outbox
from core.broker.publisher import Publisher
from tasks import consume_audit
from tests.audit.chain import ask, execute, verify, write
from tests.conftest import ROOT

EVENT_IDS = "SELECT event_id FROM audit_outbox UNION ALL SELECT event_id FROM audit_events"
# Where the server kills its own connection: before and after each statement of the sealing, and at the commit.
KILL = """
CREATE FUNCTION kill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
"""
STATEMENT = "CREATE TRIGGER killer {} ON {} FOR EACH STATEMENT EXECUTE FUNCTION kill()"
PLACES = {
    "before the events are taken": STATEMENT.format("BEFORE DELETE", "audit_outbox"),
    "after the events are taken": STATEMENT.format("AFTER DELETE", "audit_outbox"),
    "before the events are written": STATEMENT.format("BEFORE INSERT", "audit_events"),
    "after the events are written": STATEMENT.format("AFTER INSERT", "audit_events"),
    "before the head moves": STATEMENT.format("BEFORE UPDATE", "audit_chain"),
    "after the head has moved": STATEMENT.format("AFTER UPDATE", "audit_chain"),
    "at the commit": (
        "CREATE CONSTRAINT TRIGGER killer AFTER UPDATE ON audit_chain DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION kill()"
    ),
}


async def test_what_was_written_is_sealed_once_and_verifies(resources):
    await write(resources, 25)
    assert await seal_outbox(resources.database) == 25
    assert await seal_outbox(resources.database) == 0
    found = await verify(resources)
    assert (found.events, found.problem) == (25, None)


async def test_more_than_one_batch_is_sealed_in_one_go(resources):
    await execute(
        resources,
        "INSERT INTO audit_outbox (event_id, event_type, occurred_at, actor, message, context)"
        " SELECT gen_random_uuid(), 'plaid:item:synced', now(), 'test', 'A test', '{}' FROM generate_series(1, 2500)",
    )
    assert await consume(resources.settings, resources.database) is False
    assert (await verify(resources)).events == 2500


async def test_several_consumers_at_once_seal_each_event_once(resources):
    await write(resources, 40)
    sealed = await asyncio.gather(*(seal_batch(resources.database, 10) for _ in range(6)))
    assert sum(sealed) == 40
    assert (await verify(resources)).events == 40


async def test_events_keep_the_order_in_which_they_were_written(resources):
    await write(resources, 30)
    await seal_outbox(resources.database)
    rows = await ask(resources, "SELECT context ->> 'version' FROM audit_events ORDER BY seq")
    assert [int(row[0]) for row in rows] == list(range(30))


async def test_an_event_of_a_transaction_still_open_is_not_stepped_over(resources, database_url):
    writer = await asyncpg.connect(database_url)
    early = writer.transaction()
    await early.start()
    await writer.execute(
        "INSERT INTO audit_outbox (event_id, event_type, occurred_at, actor, message, context)"
        " VALUES (gen_random_uuid(), 'plaid:item:synced', now(), 'slow', 'A test', '{}')"
    )
    await write(resources, 3)
    assert await seal_outbox(resources.database) == 3
    await early.commit()
    await writer.close()
    assert await seal_outbox(resources.database) == 1
    assert (await verify(resources)).events == 4


@pytest.mark.parametrize("place", PLACES)
async def test_a_consumer_whose_connection_dies_leaves_every_event_once(resources, place):
    await write(resources, 12)
    written = sorted(await ask(resources, EVENT_IDS))
    await execute(resources, KILL, PLACES[place])
    with pytest.raises(DBAPIError):
        await seal_outbox(resources.database)
    assert sorted(await ask(resources, EVENT_IDS)) == written
    await execute(resources, "DROP FUNCTION kill CASCADE")
    assert await seal_outbox(resources.database) == 12
    assert sorted(await ask(resources, "SELECT event_id FROM audit_events")) == written
    assert (await verify(resources)).problem is None


SEAL = """
import asyncio
from core.audit.sink import seal_outbox
from core.database import open_database
from core.settings import load_settings

settings = load_settings()
asyncio.run(seal_outbox(open_database(settings, settings.database_url)))
"""
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_lock(7); PERFORM pg_advisory_unlock(7); RETURN NULL; END $$
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


async def test_a_consumer_killed_in_the_middle_leaves_every_event_once(resources, database_url):
    await write(resources, 12)
    written = sorted(await ask(resources, EVENT_IDS))
    await execute(resources, HOLD, STATEMENT.format("AFTER INSERT", "audit_events").replace("kill()", "hold()"))
    holder = await asyncpg.connect(database_url)
    await holder.execute("SELECT pg_advisory_lock(7)")
    consumer = await asyncio.create_subprocess_exec(sys.executable, "-c", SEAL, cwd=ROOT, env=dict(os.environ))
    while not await holder.fetchval(WAITING):
        await holder.execute("SELECT pg_sleep(0.02)")
    consumer.send_signal(signal.SIGKILL)
    assert await consumer.wait() == -signal.SIGKILL
    await holder.close()
    await execute(resources, "DROP FUNCTION hold CASCADE")
    assert await seal_outbox(resources.database) == 12
    assert sorted(await ask(resources, "SELECT event_id FROM audit_events")) == written
    assert (await verify(resources)).problem is None


async def test_without_redis_the_outbox_is_sealed_all_the_same(resources):
    """Where RabbitMQ brings the wake-ups they come without Redis too."""
    async with Redis.from_url("redis://127.0.0.1:9", retry=Retry(NoBackoff(), 0)) as away:
        publisher = Publisher(resources.settings, away)
        await write(resources, 3)
        await consume_audit.consume(replace(resources, publisher=publisher))
        publisher.close()
    assert await ask(resources, "SELECT count(*) FROM audit_events") == [(3,)]
