"""A worker, a deploy, beat, Redis and PostgreSQL, each restarted in the middle of a round of syncs.

The ledger is equal afterwards, nothing is lost or doubled, and whoever was not restarted goes on by himself.
"""

import signal

import asyncpg
import pytest


async def a_worker_is_killed(house):
    house.signal("one", signal.SIGKILL)
    house.start_worker("three")


async def a_deploy(house):
    """Every worker is asked to stop while new ones start: what is under way is finished or handed back."""
    for name in ("one", "two"):
        house.signal(name, signal.SIGTERM)
        house.supervisor.wait_ready(name, lambda name=name: "shutdown" in house.said(name).lower())
    house.start_worker("three")
    await house.ask("/control/release")
    assert [house.exited(name) for name in ("one", "two")] == [0, 0]
    # Nobody's sync was cut off: each has committed or begun anew in the new worker.
    assert await house.connection.fetchval("SELECT count(*) FROM sync_runs WHERE error_code = 'WORKER_LOST'") == 0


async def beat_is_killed(house):
    house.signal("beat", signal.SIGKILL)
    house.start_beat("other")


async def redis_restarts(house):
    house.redis.stop()
    house.redis.start()


async def postgresql_restarts(house):
    house.postgres.stop()
    house.postgres.start()
    house.connection = await asyncpg.connect(house.postgres.url)


DISTURBANCES = (
    a_worker_is_killed,
    a_deploy,
    beat_is_killed,
    redis_restarts,
    postgresql_restarts,
)


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda one: one.__name__)
async def test_nothing_is_lost_or_doubled_and_the_others_go_on(house, disturb, record_property):
    house.start_worker("one")
    house.start_worker("two")
    house.start_beat()
    await house.link()
    record_property("seconds", round(await house.disturbed(disturb), 1))
    house.assert_alive()
