import asyncio
from collections import Counter
from collections.abc import Callable


class Holds:
    """Named places where requests stand still until they are released."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._gates: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()

    def count(self, name: str) -> int:
        """How many requests stand there now."""
        return self._held[name]

    async def stand(self, name: str) -> None:
        """Stand still until `release` is next called for this name."""
        gate = self._gates.setdefault(name, asyncio.Event())
        self._held[name] += 1
        await self._announce()
        try:
            await gate.wait()
        finally:
            self._held[name] -= 1

    def release(self, name: str) -> int:
        """Let every request that stands there go on; later ones stand still again."""
        gate = self._gates.pop(name, None)
        if gate is not None:
            gate.set()
        return self._held[name]

    def release_all(self) -> None:
        """Let every held request go on."""
        for name in list(self._gates):
            self.release(name)

    async def wait_held(self, name: str, at_least: int, seconds: float) -> int:
        """Return when so many requests are held, or after the time; either way how many are."""
        await wait_until(self._changed, lambda: self._held[name] >= at_least, seconds)
        return self._held[name]

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def wait_until(changed: asyncio.Condition, true: Callable[[], bool], seconds: float) -> bool:
    """Whether `true` came to hold within the time."""
    try:
        async with asyncio.timeout(seconds), changed:
            await changed.wait_for(true)
    except TimeoutError:
        return False
    return True
