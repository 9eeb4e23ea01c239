"""Redis behind three sentinels, for messages, leases and limits: its master changes in the middle of a round of syncs.

Every Item has the bank's changes afterwards, nothing is doubled, and no process had to be started anew.
"""

from functools import partial

import pytest

from tests.availability.sentinels import Sentinels


@pytest.fixture
def make_redis():
    return Sentinels


async def the_master_is_killed(house):
    house.redis.lose_the_master()


async def the_masters_change_over(house):
    house.redis.change_masters()


@pytest.mark.parametrize("disturb", [the_master_is_killed, the_masters_change_over], ids=lambda one: one.__name__)
async def test_a_failover_loses_and_doubles_nothing_and_ends_nobody(house, disturb, record_property):
    house.start_worker("one")
    house.start_worker("two")
    house.start_beat()
    await house.link()
    record_property("seconds", round(await house.disturbed(disturb), 1))
    house.assert_alive()
