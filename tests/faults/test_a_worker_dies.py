"""A worker dies by kill -9 at a named point of a sync: the Item comes back by itself, nothing is lost or doubled."""

import signal
from contextlib import asynccontextmanager

import asyncpg
import pytest

LAST = {"page": "middle", "after": 1, "phase": "response"}


@asynccontextmanager
async def held_by_plaid(stage, fault_id):
    """The worker waits for an answer of Plaid's."""
    await stage.held(fault_id)
    yield


@asynccontextmanager
async def held_inside_the_transaction(stage, fault_id):
    """The worker has moved the cursor and waits to write rows: the test holds the table."""
    await stage.held(fault_id)
    rival = await asyncpg.connect(stage.dsn)
    holding = rival.transaction()
    await holding.start()
    await rival.execute("LOCK TABLE transactions IN SHARE MODE")
    await stage.release(fault_id)
    await stage.until("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'transactions'::regclass AND NOT granted")
    yield
    await holding.rollback()
    await rival.close()


@asynccontextmanager
async def held_after_the_commit(stage, fault_id):
    """The commit is durable; Redis stands still, so that neither lease nor message has been given back."""
    await stage.held(fault_id)
    stage.signal("valkey", signal.SIGSTOP)
    await stage.release(fault_id)
    await stage.until("SELECT version = 1 FROM plaid_items")
    yield
    stage.signal("valkey", signal.SIGCONT)


POINTS = {
    "before the first page": ({"page": "first"}, held_by_plaid),
    "between two pages": ({"page": "middle"}, held_by_plaid),
    "after the last page": (LAST, held_by_plaid),
    "inside the transaction": (LAST, held_inside_the_transaction),
    "after the commit": (LAST, held_after_the_commit),
}


@pytest.mark.parametrize("point", POINTS)
async def test_an_item_survives_the_death_of_its_worker(stage, point):
    where, held = POINTS[point]
    fault_id = await stage.hold(**where)
    stage.start_worker("first")
    stage.start_beat()
    await stage.link()
    stage.start_worker("second")
    async with held(stage, fault_id):
        stage.signal("first", signal.SIGKILL)
    await stage.until("SELECT version > 0 FROM plaid_items")
    await stage.assert_whole(commits=1)
    await stage.assert_goes_on(commits=1)


async def test_a_worker_that_slept_through_its_lease_writes_nothing(stage):
    fault_id = await stage.hold(**LAST)
    stage.start_worker("sleeper")
    stage.start_beat()
    await stage.link()
    await stage.held(fault_id)
    stage.signal("sleeper", signal.SIGSTOP)
    # What the sleeper has read is old by the time it wakes.
    await stage.ask("/control/evolve", added=5, modified=20, removed=10)
    stage.start_worker("rival")
    await stage.until("SELECT version > 0 FROM plaid_items")
    await stage.release(fault_id)
    stage.signal("sleeper", signal.SIGCONT)
    # A worker that is asked to stop ends what it has begun first: then it has had its chance to do harm.
    stage.signal("sleeper", signal.SIGTERM)
    assert stage.exited("sleeper") == 0
    await stage.assert_whole(commits=1)
    await stage.assert_goes_on(commits=1)


async def test_a_worker_that_is_asked_to_stop_ends_its_sync_first(stage):
    fault_id = await stage.hold(page="middle")
    stage.start_worker("leaving")
    stage.start_beat()
    await stage.link()
    await stage.held(fault_id)
    stage.signal("leaving", signal.SIGTERM)
    stage.supervisor.wait_ready("leaving", lambda: "shutdown" in stage.said("leaving").lower())
    await stage.release(fault_id)
    assert stage.exited("leaving") == 0
    await stage.assert_whole(commits=1)
