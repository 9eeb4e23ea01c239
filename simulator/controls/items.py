"""Seed Items, change their ledgers, read the truth."""

from typing import Any

import msgspec

from simulator.controls.control import item_of
from simulator.faults.fault import Natural, Positive
from simulator.json_codec import decode
from simulator.simulator import Simulator

SHOWN = ("item_id", "access_token", "institution_id")
CHANGES = ("added", "modified", "removed", "posted")


class Seed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Items to link."""

    count: Natural = 1
    transactions: Natural = 0
    accounts: Positive = 2
    webhook: str | None = None


class Evolve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes to every Item, or to `item_ids`; `announce` sends SYNC_UPDATES_AVAILABLE afterwards."""

    item_ids: list[str] | None = None
    added: Natural = 0
    modified: Natural = 0
    removed: Natural = 0
    posted: Natural = 0
    announce: bool = False


class Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose ledger."""

    item_id: str


async def seed(simulator: Simulator, asked: Seed) -> dict[str, Any]:
    """Link Items: `count` of them with `transactions` each."""
    add = simulator.world.add_item
    made = [add(asked.transactions, asked.accounts, asked.webhook) for _ in range(asked.count)]
    return {"items": [{name: getattr(item, name) for name in SHOWN} for item in made]}


async def evolve(simulator: Simulator, asked: Evolve) -> dict[str, Any]:
    """Change ledgers and return the sum of what really changed."""
    total = dict.fromkeys((*CHANGES, "announced"), 0)
    item_ids = list(simulator.world.items) if asked.item_ids is None else asked.item_ids
    for item in [item_of(simulator, item_id) for item_id in item_ids]:
        changed = simulator.world.evolve(item, *(getattr(asked, name) for name in CHANGES))
        for name, number in changed.items():
            total[name] += number
        if asked.announce:
            total["announced"] += simulator.webhooks.sync_updates_available(item)
    return total


async def ledger(simulator: Simulator, asked: Truth) -> dict[str, Any]:
    """Return the truth about an Item."""
    item = item_of(simulator, asked.item_id)
    return {"accounts": item.accounts, "transactions": [decode(e.described()) for e in item.ledger.standing()]}
