"""Change ledgers, and read the truth."""

from typing import Any, Literal

from simulator.bank.changes import Changes, Natural, churn, evolve
from simulator.controls.control import OneItem, SomeItems, item_of
from simulator.json_codec import decode
from simulator.simulator import Simulator


class Evolve(SomeItems, frozen=True, kw_only=True):
    """Changes to each of the Items; `announce` sends SYNC_UPDATES_AVAILABLE afterwards."""

    added: Natural = 0
    modified: Natural = 0
    removed: Natural = 0
    posted: Natural = 0
    split: Literal["removed_last", "removed_first"] | None = None
    announce: bool = False


class ChurnAccounts(SomeItems, frozen=True, kw_only=True):
    """Whose accounts get new ids; the transactions' ids change with them unless they are kept."""

    keep_transaction_ids: bool = False
    announce: bool = False


async def change(simulator: Simulator, asked: Evolve) -> dict[str, Any]:
    """Change ledgers and return the sum of what really changed."""
    total = dict.fromkeys(("added", "modified", "removed", "posted", "announced"), 0)
    changes = Changes(
        added=asked.added, modified=asked.modified, removed=asked.removed, posted=asked.posted, split=asked.split
    )
    for item in asked.chosen(simulator):
        for name, number in evolve(simulator.world, item, changes).items():
            total[name] += number
        if asked.announce:
            total["announced"] += simulator.webhooks.sync_updates_available(item)
    return total


async def churn_accounts(simulator: Simulator, asked: ChurnAccounts) -> dict[str, Any]:
    """Give accounts new ids."""
    chosen, announced = asked.chosen(simulator), 0
    for item in chosen:
        churn(simulator.world, item, keep_transaction_ids=asked.keep_transaction_ids)
        if asked.announce:
            announced += simulator.webhooks.sync_updates_available(item)
    return {"items": len(chosen), "announced": announced}


async def truth(simulator: Simulator, asked: OneItem) -> dict[str, Any]:
    """Return the truth about an Item."""
    item = item_of(simulator, asked.item_id)
    return {"accounts": item.accounts, "transactions": [decode(e.described()) for e in item.ledger.standing()]}
