"""What every fault has in common: which requests it strikes, and how often."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from simulator.call import SYNC_PATH, Answer, Call, Proceed
from simulator.faults.holds import Holds
from simulator.state import World

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault meeting one request: `proceed` is all that would have happened without it."""

    fault_id: int
    call: Call
    proceed: Proceed
    world: World
    holds: Holds


class Fault(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A fault stands around the endpoint as a middleware does.

    It strikes the requests that fit all of its conditions that are given: `path`, `item_id`, `institution_id` and
    `page` ("first" or "middle" of a loop of /transactions/sync). It lets `after` of them pass, then strikes
    `times` of them; `times` null means until it is cleared.
    """

    path: str | None = None
    item_id: str | None = None
    institution_id: str | None = None
    page: Literal["first", "middle"] | None = None
    after: Natural = 0
    times: Positive | None = 1

    def fits(self, call: Call) -> bool:
        """Tell whether the request meets every condition."""
        item = call.item
        return (
            self.path in (None, call.path)
            and self.item_id in (None, item and item.item_id)
            and self.institution_id in (None, item and item.institution_id)
            and (self.page is None or self._on_page(call))
        )

    def _on_page(self, call: Call) -> bool:
        return call.path == SYNC_PATH and call.is_mid_loop() == (self.page == "middle")

    async def strike(self, strike: Strike) -> Answer | None:
        """Return what is answered instead of, or made of, the usual answer."""
        raise NotImplementedError


class PhasedFault(Fault, frozen=True):
    """A fault that strikes the request, before the endpoint acts, or the response, after it has acted."""

    phase: Literal["request", "response"] = "request"

    async def strike(self, strike: Strike) -> Answer | None:
        """Spoil the exchange in the phase that was asked for."""
        if self.phase == "request":
            return await self.spoil(strike, strike.proceed)
        answer = await strike.proceed()

        async def answered() -> Answer | None:
            return answer

        return await self.spoil(strike, answered)

    async def spoil(self, strike: Strike, rest: Callable[[], Awaitable[Answer | None]]) -> Answer | None:
        """Return what is answered; `rest` is what is still to come."""
        raise NotImplementedError
