"""Notices during a sync, bursts of them, and a hundred workers on one Item: one fetch chain, nothing lost."""

import asyncio
import itertools
from dataclasses import replace
from uuid import uuid4

from core.models import RunStatus, SyncTrigger
from core.sync.sync_item import sync_item

SCHEDULED, WEBHOOK, SUCCEEDED = SyncTrigger.SCHEDULED, SyncTrigger.WEBHOOK, RunStatus.SUCCEEDED


async def test_ten_webhooks_during_a_sync_lead_to_exactly_one_more(world, item, notice):
    fault = await world.fault(item, "hold", phase="response")
    syncing = world.start(item, SCHEDULED)
    await world.control("held", fault_id=fault)
    for _ in range(10):
        await world.evolve(item, added=1)
        await notice(item)
        # Each message is delivered while the sync is held: it finds the lease taken.
        for item_id, trigger in world.outbox.take():
            assert (await sync_item(world.resources, item_id, trigger)).error_code == "LOCK_NOT_FREE"
    await world.control("release", fault_id=fault)
    assert (await syncing).status is SUCCEEDED
    assert world.outbox.take() == [(item.id, WEBHOOK)]
    assert (await world.sync(item, WEBHOOK)).status is SUCCEEDED
    assert world.outbox.take() == []
    assert await world.asked(item) == 2
    await world.check(item)


async def test_a_burst_before_any_worker_comes_is_one_message(world, item, notice):
    for _ in range(10):
        await notice(item)
    assert world.outbox.take() == [(item.id, WEBHOOK)]
    await world.sync(item, WEBHOOK)
    await world.evolve(item, added=1)
    await notice(item)
    assert world.outbox.take() == [(item.id, WEBHOOK)]
    await world.sync(item, WEBHOOK)
    await world.check(item)


async def test_a_webhook_told_twice_is_received_once(world, item, notice):
    assert await notice(item, token=b"1")
    assert not await notice(item, token=b"1")
    assert await notice(item, token=b"2")


async def test_a_hundred_workers_on_one_item_make_one_fetch_chain(world, item, notice):
    fault = await world.fault(item, "hold", phase="response")
    workers = [world.start(item, WEBHOOK) for _ in range(100)]
    await world.control("held", fault_id=fault)
    left = [await worker for worker in itertools.islice(asyncio.as_completed(workers), 99)]
    assert {one.error_code for one in left} == {"LOCK_NOT_FREE"}
    (holder,) = [worker for worker in workers if not worker.done()]
    await world.evolve(item, added=4)
    await world.control("release", fault_id=fault)
    assert (await holder).status is SUCCEEDED
    assert await world.asked(item) == 1
    # What the ninety-nine came for is not lost.
    assert world.outbox.take() == [(item.id, WEBHOOK)]
    await world.sync(item, WEBHOOK)
    assert await world.asked(item) == 2
    await world.check(item)


async def test_without_any_lease_the_data_still_are_right(world, item):
    # A lease of another name each time is what no lease at all comes to.
    lawless = replace(world.resources, lease=lambda _: world.resources.lease(uuid4()))
    for _ in range(4):
        await world.evolve(item, added=8, modified=4, removed=3, posted=2)
        outcomes = await asyncio.gather(*(sync_item(lawless, item.id, WEBHOOK) for _ in range(12)))
        # Who lost to a rival wrote nothing; a late one may have begun after it, and found nothing new.
        assert {one.error_code for one in outcomes} <= {None, "VERSION_CONFLICT"}
        assert SUCCEEDED in {one.status for one in outcomes}
        await world.check(item)


async def test_a_holder_that_outlives_its_lease_writes_nothing_over_its_rival(world, item):
    await world.sync(item)
    await world.evolve(item, added=5, removed=2)
    fault = await world.fault(item, "hold", phase="response")
    stopped = world.start(item, SCHEDULED)
    await world.control("held", fault_id=fault)
    await world.resources.redis.flushdb()
    await world.evolve(item, added=5, removed=2)
    assert (await world.sync(item, SCHEDULED)).status is SUCCEEDED
    await world.control("release", fault_id=fault)
    assert (await stopped).error_code in {"VERSION_CONFLICT", "LEASE_LOST"}
    await world.check(item)
