"""Faults that are events at the bank, which happen just before the struck request is answered."""

from simulator.bank.changes import Changes, Natural, churn, evolve
from simulator.call import SYNC_PATH, Answer
from simulator.faults.fault import Fault, Strike


class Evolve(Fault, tag="evolve", frozen=True):
    """The ledger changes: in the middle of a loop a real mutation."""

    path: str | None = SYNC_PATH
    added: Natural = 0
    modified: Natural = 0
    removed: Natural = 0
    posted: Natural = 0

    async def strike(self, strike: Strike) -> Answer | None:
        """Change the ledger, then answer."""
        changes = Changes(added=self.added, modified=self.modified, removed=self.removed, posted=self.posted)
        if strike.call.item is not None:
            evolve(strike.world, strike.call.item, changes)
        return await strike.proceed()


class Churn(Fault, tag="churn", frozen=True):
    """Every account of the Item gets a new id."""

    path: str | None = SYNC_PATH
    keep_transaction_ids: bool = False

    async def strike(self, strike: Strike) -> Answer | None:
        """Rename the accounts, then answer."""
        if strike.call.item is not None:
            churn(strike.world, strike.call.item, keep_transaction_ids=self.keep_transaction_ids)
        return await strike.proceed()


class RemoveItem(Fault, tag="remove_item", frozen=True):
    """The Item is removed: its token is dead from here on."""

    async def strike(self, strike: Strike) -> Answer | None:
        """Remove it, then answer."""
        if strike.call.item is not None:
            strike.call.item.removed = True
        return await strike.proceed()
