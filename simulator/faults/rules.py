"""The faults that are set, and the chain that each request goes through."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from simulator.call import Answer, Call, Proceed
from simulator.faults.fault import Fault, Strike
from simulator.faults.holds import Holds
from simulator.state import World


@dataclass(slots=True)
class Rule:
    """A fault that is set, with its count."""

    fault_id: int
    fault: Fault
    passed: int = 0
    struck: int = 0

    def strikes(self, call: Call) -> bool:
        """Tell whether this request is struck, and count it."""
        if self.is_used_up() or not self.fault.fits(call):
            return False
        if self.passed < self.fault.after:
            self.passed += 1
            return False
        self.struck += 1
        return True

    def is_used_up(self) -> bool:
        """Tell whether the fault has struck as often as it shall."""
        return self.fault.times is not None and self.struck >= self.fault.times

    def document(self) -> dict[str, Any]:
        """Return what the control API tells about it."""
        fault: dict[str, Any] = msgspec.to_builtins(self.fault)
        return {"fault_id": self.fault_id, "struck": self.struck, "active": not self.is_used_up(), **fault}


class Faults:
    """All faults that are set; the first one set is the outermost of a request's chain."""

    def __init__(self, world: World) -> None:
        self.holds = Holds()
        self._world = world
        self._rules: dict[int, Rule] = {}
        self._made = 0

    def add(self, fault: Fault) -> Rule:
        """Set a fault."""
        self._made += 1
        rule = self._rules[self._made] = Rule(self._made, fault)
        return rule

    def rules(self) -> Sequence[Rule]:
        """Return every fault that was set and not cleared, used up or not."""
        return list(self._rules.values())

    def clear(self, fault_ids: Sequence[int] | None = None) -> list[Rule]:
        """Take faults away, all when no ids are given; what they hold stays held until it is released."""
        chosen = list(self._rules) if fault_ids is None else fault_ids
        return [self._rules.pop(fault_id) for fault_id in chosen if fault_id in self._rules]

    async def run(self, call: Call, proceed: Proceed) -> Answer | None:
        """Answer a request through the faults that strike it."""
        striking = [rule for rule in self._rules.values() if rule.strikes(call)]
        for rule in reversed(striking):
            proceed = partial(rule.fault.strike, Strike(rule.fault_id, call, proceed, self._world, self.holds))
        return await proceed()
