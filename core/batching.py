"""Many callers, one round trip: calls that come in while one is under way are made together as the next.

Nobody waits for a timer: an idle process makes each call at once and alone, a busy one makes fewer and larger ones.
One at a time: two side by side would be half as large each, and dearer (docs/adr/0028-plaid-on-the-loop.md).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

Many = Callable[[Sequence[A]], Awaitable[Sequence[R | Exception]]]


class Batched(Generic[A, R]):
    """Makes of a function for many a function for one, for the tasks of one event loop.

    Each caller gets its own result or its own error. A batch that fails as a whole is done again one by one, so that
    no caller pays for a neighbour; `many` must therefore be safe to repeat.
    """

    def __init__(self, many: Many[A, R], *, largest: int = 100) -> None:
        self._many = many
        self._largest = largest
        self._waiting: deque[tuple[A, asyncio.Future[R]]] = deque()
        self._is_running = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, one: A) -> R:
        """Return the result for `one`, from whichever batch it travels in."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if not self._is_running:
            self._is_running = True
            # In a context of its own: a batch must not log with the ids of whoever came first.
            task = asyncio.create_task(self._drain(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _drain(self) -> None:
        # Whoever is ready in this round of the loop comes along.
        await asyncio.sleep(0)
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(self._largest, len(self._waiting)))]
                await self._settle([one for one in taken if not one[1].done()])
        finally:
            # Not by the task's end, which the loop tells later: whoever comes in between would wait for ever.
            self._is_running = False

    async def _settle(self, taken: list[tuple[A, asyncio.Future[R]]]) -> None:
        if not taken:
            return
        try:
            results = await self._many([one for one, _ in taken])
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, each of whom gets it
            if len(taken) == 1:
                _tell(taken[0][1], error)
                return
            for single in taken:
                # Whoever gave up meanwhile wants nothing any more: a lease would be taken for nobody.
                if not single[1].done():
                    await self._settle([single])
        else:
            for (_, future), result in zip(taken, results, strict=True):
                _tell(future, result)


def _tell(future: "asyncio.Future[R]", result: R | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
