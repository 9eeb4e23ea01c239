import asyncio

from core.batching import Batched


async def test_whoever_comes_again_at_once_is_served_again():
    async def double(numbers):
        return [2 * number for number in numbers]

    batched = Batched(double, at_once=1)

    async def caller():
        return [await batched(number) for number in range(10)]

    async with asyncio.timeout(5):
        assert await asyncio.gather(caller(), caller()) == [[2 * number for number in range(10)]] * 2
