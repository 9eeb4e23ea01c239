"""The schedule: a claim moves its own narrow row, and whoever writes an Item's time, by any statement, is heard."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from core.database import open_database
from core.errors import NotFoundError
from core.identity import new_id
from core.items.registration import NewItem, register_items
from core.items.sync_request import request_sync
from core.models import SyncTrigger
from core.resources import Resources
from core.sync.breaker import OpenBreakers
from core.sync.commit import MOVE
from core.sync.due import MOST_WAITING, claim_due, dispatch_due
from core.sync.sweep import sweep

DOWN = OpenBreakers({"institution:ins_down": None})


async def link(resources: Resources, count: int, institution_id: str | None = None) -> list[UUID]:
    new = [NewItem("u", f"i{n}-{institution_id}", "access-sandbox-1", institution_id) for n in range(count)]
    return await register_items(resources.database, new, "operator:test")


async def run(resources: Resources, statement: str, **values: object) -> Sequence[tuple[object, ...]]:
    async with resources.database.connection() as connection:
        found = await connection.execute(text(statement), values)
        return [tuple(row) for row in found] if found.returns_rows else []


async def claimed(resources: Resources) -> set[UUID]:
    return {item_id for item_id, _ in await claim_due(resources.database)}


async def test_a_claim_leaves_the_items_row_untouched_and_comes_back_if_nothing_came_of_it(resources):
    item_ids = await link(resources, 3)
    where = "SELECT id, ctid::text, xmin::text, next_sync_at FROM plaid_items ORDER BY id"
    before = await run(resources, where)
    assert await claimed(resources) == set(item_ids)
    assert await run(resources, where) == before
    assert await claimed(resources) == set()
    minutes = "SELECT extract(epoch FROM due_at - now()) BETWEEN 240 AND 360 FROM item_schedules"
    assert await run(resources, minutes) == [(True,)] * 3
    await run(resources, "UPDATE item_schedules SET due_at = now() - interval '1 s'")
    assert await claimed(resources) == set(item_ids)


async def test_the_longest_due_go_first_and_two_dispatchers_never_take_the_same(resources):
    item_ids = await link(resources, 40)
    late = "UPDATE plaid_items SET next_sync_at = now() - interval '1 hour' WHERE id = ANY(:ids)"
    await run(resources, late, ids=item_ids[20:])
    first = await claim_due(resources.database, limit=20)
    assert {item_id for item_id, _ in first} == set(item_ids[20:])
    takers = await asyncio.gather(*(claim_due(resources.database, limit=5) for _ in range(6)))
    taken = [item_id for rows in takers for item_id, _ in rows]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(item_ids[:20])


async def test_a_notice_ends_a_claim_although_the_items_own_time_stays_as_it_is(resources):
    (item_id,) = await link(resources, 1)
    await claimed(resources)
    ((before,),) = await run(resources, "SELECT next_sync_at FROM plaid_items")
    await request_sync(resources, item_id, "operator:test")
    assert await run(resources, "SELECT next_sync_at FROM plaid_items") == [(before,)]
    assert await claimed(resources) == {item_id}


async def test_what_does_not_concern_the_time_does_not_end_a_claim(resources):
    await link(resources, 1)
    await claimed(resources)
    await run(resources, "UPDATE plaid_items SET error_code = 'X', updated_at = now(), version = version + 1")
    assert await claimed(resources) == set()


async def test_an_item_synced_once_is_no_backfill_any_more(resources):
    item_ids = await link(resources, 2)
    await run(resources, "UPDATE plaid_items SET last_synced_at = now() WHERE id = :id", id=item_ids[0])
    kinds = dict(await claim_due(resources.database))
    assert kinds == {item_ids[0]: SyncTrigger.SCHEDULED, item_ids[1]: SyncTrigger.BACKFILL}


@pytest.mark.parametrize("statement", ["UPDATE plaid_items SET next_sync_at = NULL", "DELETE FROM plaid_items"])
async def test_whoever_waits_for_somebody_or_is_gone_is_not_claimed(resources, statement):
    await link(resources, 2)
    await run(resources, statement)
    assert await claimed(resources) == set()


async def test_items_of_an_institution_that_is_down_are_parked_and_the_others_go(resources):
    held, free, without = [await link(resources, 2, bank) for bank in ("ins_down", "ins_up", None)]
    kinds = dict(await claim_due(resources.database, DOWN))
    assert {item_id for item_id, kind in kinds.items() if kind is None} == set(held)
    assert {item_id for item_id, kind in kinds.items() if kind is not None} == {*free, *without}
    parked = """SELECT id FROM plaid_items JOIN item_schedules ON item_id = id
        WHERE parked_at IS NOT NULL AND due_at = next_sync_at AND due_at > now() + interval '40 min'"""
    assert {item_id for (item_id,) in await run(resources, parked)} == set(held)


async def test_an_item_that_somebody_is_committing_is_not_waited_for(resources, database_url):
    """That commit waits for the schedule's row, which the claim holds: to wait for it in turn would be a deadlock."""
    (item_id,) = await link(resources, 1, "ins_down")
    committing = await asyncpg.connect(database_url)
    async with committing.transaction():
        await committing.execute("SELECT FROM plaid_items FOR NO KEY UPDATE")
        assert await claim_due(resources.database, DOWN) == [(item_id, SyncTrigger.BACKFILL)]
        await committing.execute("UPDATE plaid_items SET next_sync_at = now() + interval '4 hours'")
    await committing.close()
    assert await run(
        resources, "SELECT due_at = next_sync_at FROM plaid_items JOIN item_schedules ON item_id = id"
    ) == [(True,)]


async def test_the_item_of_a_lost_run_is_due_again_at_once_though_it_was_claimed(resources):
    (item_id,) = await link(resources, 1)
    await claimed(resources)
    lost = """INSERT INTO sync_runs (id, item_id, trigger, status, started_at)
        VALUES (:id, :item_id, 'scheduled', 'running', now() - interval '1 hour')"""
    await run(resources, lost, id=new_id(), item_id=item_id)
    assert await sweep(resources) == 1
    assert await claimed(resources) == {item_id}


async def test_a_commit_writes_no_index_of_the_items(resources):
    """PostgreSQL calls it a heap-only update: the new version of the row lies on the same page."""
    item_ids = await link(resources, 5)
    none, one = [None] * 5, [1] * 5
    values = {
        **dict.fromkeys(("pages", "added", "modified", "removed", "restarts", "quarantined"), one),
        **dict.fromkeys(("update_statuses", "request_ids", "started"), none),
        "item_ids": item_ids,
        "run_ids": [new_id() for _ in item_ids],
        "versions": [0] * 5,
        "cursors": ["c1"] * 5,
        "rests": [60.0] * 5,
        "full_pulls": [False] * 5,
    }
    counted = """SELECT pg_stat_get_xact_tuples_updated('plaid_items'::regclass),
        pg_stat_get_xact_tuples_hot_updated('plaid_items'::regclass)"""
    async with resources.database.connection() as connection:
        await connection.execute(text(MOVE), values)
        assert tuple((await connection.execute(text(counted))).one()) == (5, 5)
    later = "SELECT count(*) FROM item_schedules WHERE due_at > now() AND NOT never_synced"
    assert await run(resources, later) == [(5,)]


async def test_an_item_that_is_gone_is_not_parked(resources):
    """It may be removed between its claim and here; with a time it would be looked for for ever."""
    await link(resources, 1, "ins_down")
    await run(resources, "UPDATE plaid_items SET status = 'removed', next_sync_at = NULL")
    await run(resources, "UPDATE item_schedules SET due_at = now()")
    await claim_due(resources.database, DOWN)
    assert await run(resources, "SELECT next_sync_at, parked_at FROM plaid_items") == [(None, None)]


async def test_a_request_for_an_item_that_is_not_there_needs_one_connection(resources):
    """With one for its answer as well, as many requests as there are connections would wait for each other."""
    settings = resources.settings.model_copy(update={"database_pool_size": 1})
    database = open_database(settings, settings.database_url)
    with pytest.raises(NotFoundError):
        await request_sync(replace(resources, database=database), new_id(), "user:test")
    await database.close()


async def test_while_the_queues_are_long_nothing_more_is_claimed(resources):
    """What waits there for longer than its claim would be queued, and synced, once more for each time it runs out."""
    await link(resources, 3)
    await resources.redis.rpush("sync.scheduled", *["{}"] * MOST_WAITING)
    assert await dispatch_due(resources) == 0
    await resources.redis.delete("sync.scheduled")
    assert await dispatch_due(resources) == 3


async def test_items_whose_message_the_broker_does_not_take_are_due_at_once(resources):
    item_ids = await link(resources, 3)

    class Deaf:
        """A broker that takes nothing."""

        async def publish(self, message):
            return False

    assert await dispatch_due(replace(resources, publisher=Deaf())) == 3
    assert await claimed(resources) == set(item_ids)


async def test_after_redis_forgot_everything_whoever_was_on_its_queues_is_sent_again(resources):
    item_ids = await link(resources, 4)
    rested = "UPDATE plaid_items SET next_sync_at = now() + interval '2 min' WHERE id = :id"
    assert await dispatch_due(resources) == 4
    await run(resources, rested, id=item_ids[0])
    assert await dispatch_due(resources) == 0
    await resources.redis.flushdb()
    # All but the one that was synced meanwhile, and is not on the queue any more.
    assert await dispatch_due(resources) == 3
