"""Count requests, limit them, make them slow, and put the clock forward."""

from dataclasses import asdict
from typing import Annotated, Any

import msgspec

from simulator.bank.clock import stamp
from simulator.simulator import Simulator
from simulator.traffic import Counts, Latency
from simulator.traffic.limits import LimitRules


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which Item's requests, whether each is listed, and whether counting starts anew after the answer."""

    item_id: str | None = None
    journal: bool = False
    reset: bool = False


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the clock is put forward; webhooks are signed by the real time all the same."""

    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0


async def requests(simulator: Simulator, asked: Ask) -> dict[str, Any]:
    """Return how many requests came and how they were answered."""
    counts = simulator.counts
    found: dict[str, Any] = {"paths": counts.paths(), "items": counts.items(asked.item_id)}
    if asked.journal:
        chosen = [one for one in counts.journal if asked.item_id in (None, one.item_id)]
        found["journal"] = [asdict(one) for one in chosen]
    if asked.reset:
        simulator.counts = Counts()
    return found


async def limits(simulator: Simulator, asked: LimitRules) -> dict[str, Any]:
    """Enforce limits, or none."""
    simulator.limits.set(asked)
    found: dict[str, Any] = msgspec.to_builtins(asked)
    return found


async def latency(simulator: Simulator, asked: Latency) -> dict[str, Any]:
    """Make calls slow."""
    simulator.latency = asked
    found: dict[str, Any] = msgspec.to_builtins(asked)
    return found


async def clock(simulator: Simulator, asked: Advance) -> dict[str, Any]:
    """Put the clock forward and return the time."""
    simulator.world.clock.advance(asked.seconds)
    return {"now": stamp(simulator.world.clock.now())}
