"""A call of the control API: the fields that it takes, and what it does."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from simulator.bank.item import Item
from simulator.call import Answer
from simulator.json_codec import encode
from simulator.simulator import Simulator

REFUSED, NOT_FOUND, NOT_IN_TIME = 400, 404, 504


class ControlError(Exception):
    """A control call that can't be done; its text names what is wrong and what is accepted."""

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No fields."""


class OneItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Item."""

    item_id: str


class SomeItems(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Items; all of them when no ids are given."""

    item_ids: list[str] | None = None

    def chosen(self, simulator: Simulator) -> list[Item]:
        """Return the Items; ControlError when one is unknown."""
        if self.item_ids is None:
            return [item for item in simulator.world.items.values() if not item.removed]
        return [item_of(simulator, item_id) for item_id in self.item_ids]


Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Control(Generic[Asked]):
    """Reads a control call strictly and answers it."""

    request: Any  # a Struct or a union of them: typing has no word for both
    function: Callable[[Simulator, Asked], Awaitable[dict[str, Any]]]

    async def answer(self, simulator: Simulator, body: bytes) -> Answer:
        """Return the answer; one line in `error` when the call can't be done."""
        try:
            asked: Asked = msgspec.json.decode(body or b"{}", type=self.request)
            return Answer(encode(await self.function(simulator, asked)))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Answer(encode({"error": str(error)}), REFUSED)
        except ControlError as error:
            return Answer(encode({"error": str(error)}), error.status)


def item_of(simulator: Simulator, item_id: str) -> Item:
    """Return an Item by its id; ControlError when there is none."""
    item = simulator.world.items.get(item_id)
    if item is None:
        raise ControlError(f"no Item has the item_id {item_id!r}", NOT_FOUND)
    return item
