"""Calls that come in together are made together, and nobody pays for a neighbour."""

import asyncio

import pytest

from core.batching import Batched


class Doubling:
    """A function for many that keeps what it was asked."""

    def __init__(self):
        self.batches = []

    async def __call__(self, numbers):
        self.batches.append(list(numbers))
        await asyncio.sleep(0)
        if -1 in numbers:
            raise ValueError("minus one")
        return [KeyError(number) if number == 0 else number * 2 for number in numbers]


async def test_a_single_call_is_made_alone_and_at_once():
    many = Doubling()
    assert await Batched(many)(3) == 6
    assert many.batches == [[3]]


async def test_what_is_asked_for_at_once_travels_together_in_batches_of_the_largest_size():
    many = Doubling()
    double = Batched(many, largest=4)
    assert await asyncio.gather(*map(double, range(1, 11))) == [number * 2 for number in range(1, 11)]
    assert [len(batch) for batch in many.batches] == [4, 4, 2]


async def test_an_error_of_one_reaches_that_one_alone():
    double = Batched(Doubling())
    results = await asyncio.gather(double(1), double(0), double(2), return_exceptions=True)
    assert (results[0], type(results[1]), results[2]) == (2, KeyError, 4)


async def test_a_batch_that_fails_as_a_whole_is_done_again_one_by_one():
    double = Batched(Doubling())
    results = await asyncio.gather(double(1), double(-1), double(2), return_exceptions=True)
    assert (results[0], type(results[1]), results[2]) == (2, ValueError, 4)


async def test_a_caller_that_gives_up_takes_nobody_with_it():
    double = Batched(Doubling())
    tasks = [asyncio.create_task(double(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await tasks[1] == 4
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_whoever_comes_while_the_last_batch_ends_is_served():
    # A thousand callers, each asking again as soon as it was answered: one lost wake-up would hang this test.
    double = Batched(Doubling(), largest=3)

    async def often(number):
        for _ in range(20):
            assert await double(number) == number * 2

    await asyncio.gather(*(often(number) for number in range(1, 51)))
