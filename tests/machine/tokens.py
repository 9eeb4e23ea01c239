"""Items whose access token is replaced, lost or parked, and Items that are removed, whatever else goes on.

At the bank the truth is known: which token lives, and whether the Item does. We may only be without the token that
lives where its only copy could get lost; and what we removed the bank has to forget, if we have a token for it.
"""

from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from sqlalchemy.exc import OperationalError

from core.errors import LockNotAcquiredError, NotFoundError, SyncError
from core.items.removal import remove_item, revoke_due
from core.items.token_rotation import INVALIDATE, rotate_access_token
from core.models import PlaidItem
from tests.machine.mortal import KilledError, mortal
from tests.machine.odd_answers import OddAnswers

ACTOR = "operator:test"
GONE = ("revoked", "removed")


class AwayOnceReplaced:
    """A database that is away from the moment on in which Plaid has replaced the token."""

    def __init__(self, resources):
        self._database, self._plaid, self._is_away = resources.database, resources.plaid, False

    async def post(self, path, body):
        answer = await self._plaid.post(path, body)
        self._is_away = path == INVALIDATE
        return answer

    @asynccontextmanager
    async def transaction(self):
        if self._is_away:
            raise OperationalError("BEGIN", {}, ConnectionError())
        async with self._database.transaction() as opened:
            yield opened


class Tokens(OddAnswers):
    """The fleet, whose Items come and go, and change their tokens."""

    async def begin(self):
        """Forget the fleet before, and link a new one."""
        await super().begin()
        # Those that we removed, with the rows that stood then.
        self.former = {}
        self.may_be_lost = set()

    async def rotate(self, item, steps=None, *, is_database_away=False):
        """Replace an Item's token, as a process that may die of it, or lose its database."""
        # What is to go wrong shall not be what loses the token.
        await self.control("faults/clear")
        await self.replace_token(item, steps, is_database_away=is_database_away)

    async def replace_token(self, item, steps=None, *, is_database_away=False):
        """Do so, with whatever goes wrong."""
        self.trouble()
        resources = mortal(self.resources, steps)
        if steps is not None:
            self.may_be_lost.add(item.id)
        if is_database_away:
            away = AwayOnceReplaced(resources)
            resources = replace(resources, database=away, plaid=away)
        with suppress(KilledError, NotFoundError, LockNotAcquiredError, SyncError):
            await rotate_access_token(resources, item.id, ACTOR)

    async def hold_rotation(self, item, phase):
        """Begin to replace a token, and let it be held at the bank; tell whether it came so far."""
        await self.control("faults/clear")
        where = {"phase": phase, "path": INVALIDATE, "item_id": item.plaid_item_id}
        return await self.begin_held(self.replace_token(item), item.id, **where)

    async def go_on(self, one, how):
        """Let a held worker go on, or have its connection cut: whatever it was told is lost then."""
        if how == "cut":
            self.trouble()
            self.may_be_lost |= {one.item_id} if one.is_rotation else set()
        return await super().go_on(one, how)

    async def fault(self, item, kind, **fields):
        """Set a fault for one Item; it strikes whatever a rotation under way does next."""
        self.may_be_lost |= {one.item_id for one in self.working if one.is_rotation and one.item_id == item.id}
        return await super().fault(item, kind, **fields)

    async def redis_forgets(self):
        """Have Redis restart empty: what is parked there is lost."""
        if await self.resources.redis.keys("token-rotation:*"):
            self.may_be_lost |= {item.id for item in [*self.items, *self.former]}
        await super().redis_forgets()

    async def remove(self, which, *, by_its_user):
        """Remove an Item, or have its user take back the permission; another one is linked in its place."""
        item = self.items[which]
        if by_its_user:
            await self.control("items/revoke", item_id=item.plaid_item_id, announce=False)
            await self.announce(item, "USER_PERMISSION_REVOKED", "ITEM")
        else:
            await remove_item(self.resources, item.id, ACTOR)
        self.promised.pop(item.id, None)
        self.former[item] = await self.rows(item)
        (self.items[which],) = await self.link(transactions=7, institution_id="ins_109511")
        self.history[self.items[which].id], self.reached[self.items[which].id] = [{}], 0

    async def revoke(self):
        """Try what is to be forgotten, whenever it is due."""
        await self.sql("UPDATE item_removals SET next_attempt_at = now()")
        await revoke_due(self.resources)

    async def look(self):
        """Hold our rows and Items against the bank: none is given up that lives, none is brought back that is gone."""
        await super().look()
        for item in self.items:
            (status,) = await self.one(item, "status")
            assert status not in GONE or item.id in self.may_be_lost, "an Item was given up that lives at the bank"
        for item, rows in self.former.items():
            (status,) = await self.one(item, "status")
            assert status in GONE, "an Item was brought back that is gone"
            assert await self.rows(item) == rows, "the rows of an Item changed that is gone"

    async def is_token_good(self, item):
        """Tell whether we have the token that the bank takes."""
        (told,) = (await self.control("items/list", item_ids=[item.plaid_item_id]))["items"]
        async with self.resources.database.transaction() as session:
            return (await session.get_one(PlaidItem, item.id)).plaid_access_token == told["access_token"]

    async def kept(self):
        """Return the Items whose token we have."""
        return [item for item in self.items if await self.is_token_good(item)]

    async def drain(self):
        """Let every trouble end, and hold against the bank what became of the Items."""
        await super().drain()
        # What a rotation left open is settled by the first attempt, and used by the second.
        await self.revoke()
        await self.revoke()
        kept = await self.kept()
        for item in self.items:
            (status,) = await self.one(item, "status")
            if item in kept:
                assert status == "active", f"an Item that lives, and whose token we have, is {status}"
            else:
                assert item.id in self.may_be_lost, "a token is lost that nothing happened to"
                assert status in {"needs_reauth", "revoked"}, f"an Item without its token is {status}"
        for item in self.former:
            assert await self.one(item, "next_sync_at") == (None,)
            (told,) = (await self.control("items/list", item_ids=[item.plaid_item_id]))["items"]
            assert told["removed"] or item.id in self.may_be_lost, "the bank was never told to forget an Item"
        assert await self.sql("SELECT item_id FROM item_removals WHERE removed_at IS NULL") == []
