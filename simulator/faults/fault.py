"""What every fault of an exchange has in common."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from simulator.bank.world import World
from simulator.call import SYNC_PATH, Answer, Call, Proceed
from simulator.rules.conditions import Conditions, Rules
from simulator.rules.holds import Holds


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault meeting one request: `proceed` is all that would have happened without it."""

    fault_id: int
    call: Call
    proceed: Proceed
    world: World
    holds: Holds


class Fault(Conditions, frozen=True):
    """A fault stands around the endpoint as a middleware does.

    To the conditions on the Item it adds `path`, and `page`: the "first" or a "middle" page of a loop of
    /transactions/sync.
    """

    path: str | None = None
    page: Literal["first", "middle"] | None = None

    def fits(self, call: Call) -> bool:
        """Tell whether the request meets every condition."""
        on_path = self.path in (None, call.path)
        return on_path and self.fits_item(call.item) and (self.page is None or self._on_page(call))

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

    async def spoil(self, strike: Strike, rest: Proceed) -> Answer | None:
        """Return what is answered; `rest` is what is still to come."""
        raise NotImplementedError


class Faults:
    """The chain of faults that each request goes through; the first one set is the outermost."""

    def __init__(self, world: World, rules: Rules, holds: Holds) -> None:
        self._world = world
        self._rules = rules
        self._holds = holds

    async def run(self, call: Call, proceed: Proceed) -> Answer | None:
        """Answer a request through the faults that strike it."""
        for fault_id, fault in reversed(self._rules.striking(Fault, lambda fault: fault.fits(call))):
            proceed = partial(fault.strike, Strike(fault_id, call, proceed, self._world, self._holds))
        return await proceed()
