"""Bytes in memory are bounded, in the order of asking."""

import asyncio

import pytest

from core.byte_budget import ByteBudget


class Holder:
    """Holds a part of a budget until it is told to let go."""

    def __init__(self, budget, amount):
        self.has_it, self._let_go = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget, amount))

    async def _hold(self, budget, amount):
        async with budget.held(amount):
            self.has_it.set()
            await self._let_go.wait()

    async def let_go(self):
        self._let_go.set()
        await self.task


async def all_asked():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_fits_is_given_and_what_does_not_waits():
    budget = ByteBudget(10)
    first, second, third = (Holder(budget, amount) for amount in (6, 4, 1))
    await all_asked()
    assert [one.has_it.is_set() for one in (first, second, third)] == [True, True, False]
    await second.let_go()
    await all_asked()
    assert third.has_it.is_set()
    await first.let_go()
    await third.let_go()
    assert budget.free == 10


async def test_a_large_one_is_not_overtaken_by_small_ones():
    budget = ByteBudget(10)
    first, large, small = (Holder(budget, amount) for amount in (6, 9, 1))
    await all_asked()
    assert not small.has_it.is_set()
    await first.let_go()
    await all_asked()
    assert (large.has_it.is_set(), small.has_it.is_set()) == (True, True)
    await large.let_go()
    await small.let_go()
    assert budget.free == 10


async def test_more_than_the_whole_is_given_alone():
    budget = ByteBudget(10)
    huge, small = Holder(budget, 1000), Holder(budget, 1)
    await all_asked()
    assert (huge.has_it.is_set(), small.has_it.is_set()) == (True, False)
    await huge.let_go()
    await all_asked()
    await small.let_go()
    assert budget.free == 10


@pytest.mark.parametrize("is_given", [False, True], ids=["while it waits", "just as it is given"])
async def test_whoever_is_cancelled_leaves_nothing_behind(is_given):
    budget = ByteBudget(10)
    first, waiting, small = (Holder(budget, amount) for amount in (6, 9, 2))
    await all_asked()
    if is_given:
        first._let_go.set()
        # One round of the loop: the first gives back, and the waiting one has not run since.
        await asyncio.sleep(0)
    waiting.task.cancel()
    await all_asked()
    assert small.has_it.is_set()
    assert not waiting.has_it.is_set()
    await first.let_go()
    await small.let_go()
    assert budget.free == 10
