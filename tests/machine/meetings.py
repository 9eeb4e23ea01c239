"""What happens to an Item while somebody stands still in the middle of it: a choice of steps seldom makes two meet."""

from core.models import RunStatus, SyncTrigger
from tests.machine.tokens import Tokens


class Meetings(Tokens):
    """The fleet, with what comes in between."""

    async def during_a_sync(self, which, what, **where):
        """Let a sync stand still at the bank, let something else happen to its Item, and let it go on."""
        item = self.items[which]
        # So that its one page says something: of several the later ones would be refused, and all of them read anew.
        await self.evolve(item, added=2, modified=2)
        if await self.hold((item.id, SyncTrigger.MANUAL), **where):
            held = self.working[-1]
            is_noticed = await getattr(self, what)(which)
            self.working.remove(held)
            outcome = await self.go_on(held, "continue")
            is_owed = is_noticed and outcome is not None and outcome.status is RunStatus.SUCCEEDED
            assert not is_owed or self.is_busy(item), "what was asked for during a sync does not follow it"

    async def during_a_rotation(self, which, what, phase):
        """Let a rotation stand still at the bank, let something else happen to its Item, and let it go on."""
        if await self.hold_rotation(self.items[which], phase):
            held = self.working[-1]
            await getattr(self, what)(which)
            self.working.remove(held)
            await self.go_on(held, "continue")

    async def it_changes(self, which):
        """The bank has more to say and says so; all messages for the Item are delivered. Tell if one left word."""
        item = self.items[which]
        await self.evolve(item, added=2, modified=1, removed=2)
        await self.announce(item)
        mine = [one for one in self.queue if one[0] == item.id]
        self.queue = [one for one in self.queue if one[0] != item.id]
        ended = [(trigger, await self.deliver((item_id, trigger))) for item_id, trigger in mine]
        return any(
            trigger.is_notice and outcome and outcome.error_code == "LOCK_NOT_FREE" for trigger, outcome in ended
        )

    async def a_rival_commits(self, which):
        """The bank has more to say, and a second holder of the lease brings it."""
        item = self.items[which]
        self.trouble()
        await self.evolve(item, modified=4, removed=4, posted=4)
        await self.work((item.id, SyncTrigger.MANUAL), leased=False)
        # From here on they may not go back.
        await self.look()

    async def it_is_removed(self, which):
        """Somebody removes it, and the bank is asked to forget it."""
        await self.remove(which, by_its_user=False)
        await self.revoke()

    async def it_is_removed_without_its_lease(self, which):
        """The same, after Redis has forgotten who is at it."""
        await self.redis_forgets()
        await self.it_is_removed(which)

    async def its_user_takes_it_back(self, which):
        """The permission is taken back."""
        await self.remove(which, by_its_user=True)

    async def its_token_is_replaced(self, which):
        """Redis forgets who is at it, and its token is replaced."""
        await self.redis_forgets()
        await self.rotate(self.items[which])

    async def it_is_synced_without_its_lease(self, which):
        """Redis forgets who is at it, and it is synced."""
        await self.redis_forgets()
        await self.work((self.items[which].id, SyncTrigger.MANUAL))
