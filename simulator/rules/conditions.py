from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from simulator.bank.changes import Natural
from simulator.bank.item import Item

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Conditions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Whom a fault strikes: one Item, or all Items of a bank, or anybody.

    It lets `after` fitting ones pass, then strikes `times` of them; `times` null means until it is cleared.
    """

    item_id: str | None = None
    institution_id: str | None = None
    after: Natural = 0
    times: Positive | None = 1

    def fits_item(self, item: Item | None) -> bool:
        """Tell whether the Item meets the conditions."""
        return self.item_id in (None, item and item.item_id) and self.institution_id in (
            None,
            item and item.institution_id,
        )


@dataclass(slots=True)
class Rule:
    """A fault that is set, with its count."""

    fault_id: int
    fault: Conditions
    passed: int = 0
    struck: int = 0

    def is_used_up(self) -> bool:
        """Tell whether the fault has struck as often as it shall."""
        return self.fault.times is not None and self.struck >= self.fault.times

    def count(self) -> bool:
        """Count one that fits, and tell whether it is struck."""
        if self.passed < self.fault.after:
            self.passed += 1
            return False
        self.struck += 1
        return True

    def document(self) -> dict[str, Any]:
        """Return what the control API tells about it."""
        fault: dict[str, Any] = msgspec.to_builtins(self.fault)
        return {"fault_id": self.fault_id, "struck": self.struck, "active": not self.is_used_up(), **fault}


Kind = TypeVar("Kind", bound=Conditions)


class Rules:
    """All faults that are set, in the order in which they were."""

    def __init__(self) -> None:
        self._rules: dict[int, Rule] = {}
        # Those not used up: a long run sets thousands, and each request looks through these.
        self._active: dict[int, Rule] = {}
        self._made = 0

    def add(self, fault: Conditions) -> Rule:
        """Set a fault."""
        self._made += 1
        rule = self._rules[self._made] = self._active[self._made] = Rule(self._made, fault)
        return rule

    def all(self) -> Sequence[Rule]:
        """Return every fault that was set and not cleared, used up or not."""
        return list(self._rules.values())

    def clear(self, fault_ids: Sequence[int] | None = None) -> list[Rule]:
        """Take faults away, all when no ids are given; what they hold stays held until it is released."""
        chosen = list(self._rules) if fault_ids is None else fault_ids
        for fault_id in chosen:
            self._active.pop(fault_id, None)
        return [self._rules.pop(fault_id) for fault_id in chosen if fault_id in self._rules]

    def striking(self, kind: type[Kind], fits: Callable[[Kind], bool]) -> list[tuple[int, Kind]]:
        """Return the faults of a kind that strike now, with their ids, and count them."""
        found = []
        for rule in list(self._active.values()):
            fault = rule.fault
            if isinstance(fault, kind) and fits(fault) and rule.count():
                found.append((rule.fault_id, fault))
                if rule.is_used_up():
                    del self._active[rule.fault_id]
        return found
