"""Requests and webhooks that are held back until somebody lets them go."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

CONTINUE, CUT = "continue", "cut"


@dataclass(slots=True, eq=False)
class Held:
    """Something that waits, and what the control API tells about it."""

    hold_id: int
    fault_id: int
    item_id: str | None
    what: dict[str, Any]
    let_go: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def document(self) -> dict[str, Any]:
        """Return what the control API tells about it."""
        return {"hold_id": self.hold_id, "fault_id": self.fault_id, "item_id": self.item_id, **self.what}


class Holds:
    """All that is held; who waits for them is told of each that comes, and each is told how to go on."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._changed = asyncio.Condition()
        self._made = 0

    def held(self, wanted: Callable[[Held], bool]) -> list[Held]:
        """Return those held now that `wanted` accepts, longest held first."""
        return [held for held in self._held.values() if wanted(held)]

    async def keep(
        self,
        fault_id: int,
        item_id: str | None,
        what: dict[str, Any],
        gone: Callable[[], Awaitable[None]] | None = None,
    ) -> str:
        """Hold it and return how it is to go on; CUT also when `gone` returns, which tells that nobody waits for it."""
        self._made += 1
        held = self._held[self._made] = Held(self._made, fault_id, item_id, what)
        await self._tell()
        leaving = asyncio.ensure_future(gone() if gone else asyncio.Event().wait())
        leaving.add_done_callback(lambda _: self.release(lambda one: one is held, CUT))
        try:
            return await held.let_go
        finally:
            leaving.cancel()
            del self._held[held.hold_id]
            await self._tell()

    async def wait(self, count: int, wanted: Callable[[Held], bool], seconds: float) -> list[Held]:
        """Return as soon as `count` wanted ones are held, with 0 as soon as none is; TimeoutError otherwise."""

        def enough() -> bool:
            number = len(self.held(wanted))
            return number >= count if count else number == 0

        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(enough)
        return self.held(wanted)

    def release(self, wanted: Callable[[Held], bool], how: str) -> list[Held]:
        """Let the wanted ones go."""
        chosen = [held for held in self.held(wanted) if not held.let_go.done()]
        for held in chosen:
            held.let_go.set_result(how)
        return chosen

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
