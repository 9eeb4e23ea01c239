"""Set faults, wait for requests that are held, let them go."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from simulator.bank.changes import Natural
from simulator.controls.control import NOT_IN_TIME, ControlError, Nothing
from simulator.faults import AnyExchangeFault
from simulator.rules.holds import Held
from simulator.simulator import Simulator
from simulator.webhooks import AnyWebhookFault

AnyFault = AnyExchangeFault | AnyWebhookFault


class Clear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which faults to take away: all when no ids are given."""

    fault_ids: list[int] | None = None


class _Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    fault_id: int | None = None
    hold_ids: list[int] | None = None
    item_id: str | None = None

    def chooses(self) -> Callable[[Held], bool]:
        """Return the test for a held request."""

        def chosen(held: Held) -> bool:
            return (
                self.fault_id in (None, held.fault_id)
                and (self.hold_ids is None or held.hold_id in self.hold_ids)
                and self.item_id in (None, held.item_id)
            )

        return chosen


class Await(_Chosen, frozen=True, kw_only=True):
    """How many requests have to be held, 0 for none any more, and how many seconds to wait for that at most."""

    count: Natural = 1
    timeout: Annotated[float, msgspec.Meta(ge=0)] = 30


class Release(_Chosen, frozen=True, kw_only=True):
    """Which requests go, and how."""

    how: Literal["continue", "cut"] = "continue"


async def add(simulator: Simulator, asked: AnyFault) -> dict[str, Any]:
    """Set a fault."""
    return simulator.rules.add(asked).document()


async def listed(simulator: Simulator, _asked: Nothing) -> dict[str, Any]:
    """Return every fault that is set."""
    return {"faults": [rule.document() for rule in simulator.rules.all()]}


async def clear(simulator: Simulator, asked: Clear) -> dict[str, Any]:
    """Take faults away."""
    return {"faults": [rule.document() for rule in simulator.rules.clear(asked.fault_ids)]}


async def held(simulator: Simulator, asked: Await) -> dict[str, Any]:
    """Answer as soon as enough requests are held, or none any more."""
    holds, chooses = simulator.holds, asked.chooses()
    try:
        found = await holds.wait(asked.count, chooses, asked.timeout)
    except TimeoutError:
        waited = f"{len(holds.held(chooses))} requests were held after {asked.timeout:g} s, waited for {asked.count}"
        raise ControlError(waited, NOT_IN_TIME) from None
    return {"held": [one.document() for one in found]}


async def release(simulator: Simulator, asked: Release) -> dict[str, Any]:
    """Let held requests go."""
    return {"released": [one.document() for one in simulator.holds.release(asked.chooses(), asked.how)]}
