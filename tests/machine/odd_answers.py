"""What a bank says or loses once in a while, each time to an Item that is up to date, so that the truth is known."""

from itertools import count

from core.models import SyncTrigger
from core.sync.reconcile import reconcile
from tests.machine.fleet import Fleet

GHOSTS = count()


class OddAnswers(Fleet):
    """The fleet, at a bank that has odd answers."""

    async def is_level(self, item):
        """Bring the Item up to date if nobody is at work on it, and tell whether that went well.

        What was to go wrong is forgotten.
        """
        if any(one.item_id == item.id for one in self.working):
            return False
        self.trouble()
        await self.control("faults/clear")
        outcome = await self.work((item.id, SyncTrigger.MANUAL))
        await self.look()
        return bool(outcome and outcome.work) and await self.rows(item) == self.history[item.id][-1] != {}

    async def tell_and_take_back(self, item):
        """Name one transaction as added and as removed in the same answer: it is no more."""
        if not await self.is_level(item):
            return
        told = (await self.control("ledger", item_id=item.plaid_item_id))["transactions"]
        ghost = told[0] | {"transaction_id": f"ghost-{next(GHOSTS)}"}
        gone = {name: ghost[name] for name in ("transaction_id", "account_id")}
        await self.tell(item, {"added": [ghost], "removed": [gone]})

    async def post_without_removal(self, item):
        """Post pending transactions, and have nobody say that the pending ones are gone."""
        if await self.is_level(item):
            await self.evolve(item, posted=3)
            await self.look()
            await self.tell(item, {"removed": []})

    async def tell(self, item, lists):
        """Sync the Item with answers whose lists were written for it."""
        fault_id = await self.fault(item, "patch", set=lists, path="/transactions/sync", times=None)
        await self.work((item.id, SyncTrigger.MANUAL))
        await self.clear(fault_id)

    async def lose_rows_and_repair(self, item):
        """Bury rows that stand at the bank, and have the Item put right."""
        if not await self.is_level(item):
            return
        some = "SELECT transaction_id FROM transactions WHERE item_id = :id AND removed_at IS NULL LIMIT 2"
        bury = f"UPDATE transactions SET removed_at = now() WHERE item_id = :id AND transaction_id IN ({some})"
        await self.sql(bury, id=item.id)
        drift = await reconcile(self.resources, item.id, repair=True)
        assert drift.repaired, f"a reconcile that nothing disturbed ended as {drift.outcome}"
