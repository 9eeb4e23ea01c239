"""A bound on bytes in memory: who asks for more than is left waits its turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """So many bytes for all tasks of one event loop, first come, first served.

    What is larger than the whole budget gets all of it, alone: large requests are slow, never impossible. Whoever holds
    a part must not ask for another.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """Return the bytes that nobody holds."""
        return self._free

    @asynccontextmanager
    async def held(self, amount: int) -> AsyncIterator[None]:
        """Hold that many bytes during the body."""
        amount = min(amount, self._size)
        await self._take(amount)
        try:
            yield
        finally:
            self._give_back(amount)

    async def _take(self, amount: int) -> None:
        if not self._waiting and amount <= self._free:
            self._free -= amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # Given and never used.
                self._give_back(amount)
            else:
                # It may have stood in the way of smaller ones.
                turn.cancel()
                self._give_back(0)
            raise

    def _give_back(self, amount: int) -> None:
        self._free += amount
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
