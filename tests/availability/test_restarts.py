"""A worker, a deploy, beat, Redis and PostgreSQL, each restarted in the middle of a round of syncs.

The ledger is equal afterwards, nothing is lost or doubled, and whoever was not restarted goes on by himself. How long
anything waits is measured by `python -m benchmarks.restarts`.
"""

import signal

import asyncpg
import pytest

from tests.availability.house import HELD, ITEMS

FAILED = "SELECT error_code FROM sync_runs WHERE status = 'failed' AND error_code <> 'WORKER_LOST'"


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
    # A sync that a server was missing for waited where it was: none failed, and no Item was sent into its back-off.
    assert await house.connection.fetch(FAILED) == []
    for name in ("one", "two"):
        assert "Traceback" not in house.said(name)


async def test_a_commit_waits_for_postgresql_where_it_is_and_one_line_tells(house):
    """Every sync of one worker has its pages when the server goes, and commits them once it is back."""
    house.start_worker("one")
    house.start_beat()
    await house.link()
    await house.begin_round()
    runs = "SELECT count(*) FROM sync_runs"
    before = await house.connection.fetchval(runs)
    house.postgres.stop()
    await house.ask("/control/release")
    house.supervisor.wait_ready("one", lambda: "DATABASE_AWAY" in house.said("one"))
    house.postgres.start()
    house.connection = await asyncpg.connect(house.postgres.url)
    await house.end()
    await house.assert_equal()
    assert await house.connection.fetch(FAILED) == []
    # The same runs: nothing that was fetched had to be fetched again.
    assert await house.connection.fetchval(runs) - before <= ITEMS - HELD
    assert house.said("one").count("server_away") == 1
