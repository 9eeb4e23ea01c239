"""Two Items, a queue whose messages may be lost, doubled or late, and workers that are held, cancelled or killed.

While nothing of that kind has happened more is promised than that it comes right in the end: what was announced is
there as soon as nothing is left to do, and no two workers are at one Item.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from uuid import UUID, uuid4

from core.errors import NotFoundError
from core.models import RunStatus
from core.plaid.webhook_verification import VerifiedWebhook
from core.sync.sync_item import sync_item
from core.webhooks.inbox import Inbox
from tests.cases.world import World
from tests.machine.mortal import KilledError, mortal

SIGNED = count()
ROUNDS = 12
LEFT_ALONE = {"LOCK_NOT_FREE", "HELD_BACK"}


@dataclass(frozen=True)
class Held:
    """A worker that is held at the bank, and in which of Redis's eras it took its Item's lease."""

    worker: asyncio.Task
    fault_id: int
    item_id: UUID
    era: int
    is_rotation: bool


class Fleet(World):
    """The world of the cases, with a queue and workers under way."""

    working = ()

    async def begin(self):
        """Forget the fleet before, and link a new one."""
        await self.let_go()
        self.queue = []
        self.working = []
        self.promised = {}
        # Redis has forgotten something as often; what it holds may be stale until all of it is forgotten.
        self.era = 0
        self.is_troubled = False
        for table in ("plaid_items", "circuit_breakers", "staged_transactions", "audit_outbox"):
            await self.sql(f"DELETE FROM {table}")
        await self.resources.redis.flushdb()
        self.outbox.take()
        self.items = await self.link(count=2, transactions=12, institution_id="ins_109511")
        # What the bank had, time after time, and at which of these times our rows were last.
        self.history = {item.id: [{}] for item in self.items}
        self.reached = dict.fromkeys(self.history, 0)

    async def let_go(self):
        """Let whoever is held by the bank come to an end."""
        await self.control("faults/clear")
        await self.control("release")
        if self.working:
            await asyncio.wait({one.worker for one in self.working})

    async def end(self):
        """Leave nothing under way."""
        await self.let_go()
        self.outbox.close()

    def trouble(self):
        """Note that something happened after which nothing is promised soon."""
        self.is_troubled = True
        self.promised.clear()

    def collect(self):
        """Put what was sent on the queue."""
        self.queue += self.outbox.take()

    async def look(self):
        """Hold our rows against the bank's past: they are as they once were there, and they never go back."""
        for item in self.items:
            told = (await self.control("ledger", item_id=item.plaid_item_id))["transactions"]
            past = self.history[item.id]
            truth = {one["transaction_id"]: Decimal(str(one["amount"])) for one in told}
            if truth != past[-1]:
                past.append(truth)
            ours = await self.rows(item)
            times = [time for time in range(self.reached[item.id], len(past)) if past[time] == ours]
            assert times, f"these rows never were at the bank, or not since time {self.reached[item.id]}: {ours}"
            self.reached[item.id] = times[0]
            self.hold_to_promise(item)

    def hold_to_promise(self, item):
        """Expect what was announced, once nobody is at work on the Item or about to be."""
        if self.is_busy(item):
            return
        promised = self.promised.pop(item.id, 0)
        # Equal rows of two times may be taken for the earlier.
        past = self.history[item.id]
        is_there = past[self.reached[item.id]] in past[promised:]
        assert is_there, f"nothing is left to do, and what was announced at time {promised} is not there"

    def is_busy(self, item):
        """Tell whether somebody is at work on the Item, or a message asks for it."""
        return any(one.item_id == item.id for one in self.working) or any(item.id == one for one, _ in self.queue)

    async def rows(self, item):
        """Return the amounts of the Item's standing rows."""
        standing = "SELECT transaction_id, amount FROM transactions WHERE item_id = :id AND removed_at IS NULL"
        return dict(await self.sql(standing, id=item.id))

    async def announce(self, item, code="SYNC_UPDATES_AVAILABLE", kind="TRANSACTIONS"):
        """Receive a webhook."""
        body = {"webhook_type": kind, "webhook_code": code, "item_id": item.plaid_item_id}
        proof = VerifiedWebhook(datetime.now(UTC), hashlib.sha256(str(next(SIGNED)).encode()).hexdigest())
        inbox = Inbox(self.resources)
        await inbox.receive(json.dumps(body).encode(), proof)
        await inbox.idle()
        self.collect()
        if code == "SYNC_UPDATES_AVAILABLE" and not self.is_troubled:
            await self.look()
            self.promised[item.id] = len(self.history[item.id]) - 1

    async def work(self, message, steps=None, *, leased=True):
        """Do what a message asks for, as a worker that may die of it; return how it ended, if it came to an end."""
        resources = mortal(self.resources, steps)
        if not leased:
            resources = replace(resources, lease=lambda _: self.resources.lease(uuid4()))
        try:
            outcome = await sync_item(resources, *message)
        except (KilledError, NotFoundError):
            return None
        finally:
            self.collect()
        if outcome.status is not RunStatus.SUCCEEDED and outcome.error_code != "LOCK_NOT_FREE":
            self.trouble()
        return outcome

    async def deliver(self, message):
        """Do what a message asks for; a worker under way that has the Item's lease is left alone."""
        others = [one for one in self.working if one.item_id == message[0] and one.era == self.era]
        outcome = await self.work(message)
        assert not others or outcome is None or outcome.error_code in LEFT_ALONE, "two workers were at one Item"
        return outcome

    async def beat(self):
        """Let beat tick."""
        self.queue += await self.tick()

    async def hold(self, message, **where):
        """Begin what a message asks for, and let it be held at the bank; tell whether it came so far."""
        return await self.begin_held(self.work(message), message[0], **where)

    async def begin_held(self, doing, whose, **where):
        """Begin something, and let it be held at the bank; tell whether it came so far."""
        fault_id = int((await self.control("faults", kind="hold", **where))["fault_id"])
        worker = asyncio.create_task(doing)
        held = asyncio.create_task(self.control("held", fault_id=fault_id))
        await asyncio.wait({worker, held}, return_when=asyncio.FIRST_COMPLETED)
        await self.clear(fault_id)
        if not worker.done():
            self.working.append(Held(worker, fault_id, whose, self.era, "path" in where))
        held.cancel()
        await asyncio.wait({held})
        if worker.done():
            worker.result()
            return False
        return True

    async def go_on(self, one, how):
        """Let a held worker go on, or have its connection cut."""
        await self.control("release", fault_id=one.fault_id, how=how)
        return await one.worker

    async def cancel(self, one):
        """Stop a worker as a warm shutdown does when its time is over."""
        self.trouble()
        one.worker.cancel()
        # Some have to be told the end first.
        await self.control("release", fault_id=one.fault_id)
        await asyncio.wait({one.worker})

    async def redis_forgets(self):
        """Have Redis restart empty."""
        self.era += 1
        self.trouble()
        await self.resources.redis.flushdb()

    async def time_passes(self, *, leases_run_out):
        """Move everything that waits for a time; a holder that was stopped loses its lease."""
        await self.sql("UPDATE plaid_items SET next_sync_at = next_sync_at - interval '2 days'")
        await self.sql("UPDATE plaid_items SET full_pull_at = full_pull_at - interval '2 days'")
        await self.sql("UPDATE circuit_breakers SET probe_at = probe_at - interval '2 days'")
        await self.sql("UPDATE sync_runs SET started_at = started_at - interval '5 minutes' WHERE status = 'running'")
        if leases_run_out or not self.working:
            keys = [key async for key in self.resources.redis.scan_iter("lease:*")]
            for key in keys:
                await self.resources.redis.delete(key)
            self.era += 1
            if self.working:
                self.trouble()
            else:
                self.is_troubled = False

    async def drain(self):
        """Let every trouble end, and time pass, until nothing is left to do."""
        await self.control("faults/clear")
        self.trouble()
        while self.working:
            await self.go_on(self.working.pop(), "continue")
        for one in await self.broken():
            await self.repair(one)
        for _ in range(ROUNDS):
            await self.time_passes(leases_run_out=True)
            await self.beat()
            while self.queue:
                await self.work(self.queue.pop())
            if await self.is_quiet():
                break
        if kept := await self.kept():
            await self.check(*kept)

    async def kept(self):
        """Return the Items that have to be equal in the end."""
        return self.items

    async def is_quiet(self):
        """Tell whether both sides agree and no breaker is open."""
        if await self.sql("SELECT 1 FROM circuit_breakers UNION SELECT 1 FROM sync_runs WHERE status = 'running'"):
            return False
        kept = await self.kept()
        return not kept or not await self.drift(*kept)

    async def broken(self):
        """Return the Items that ask for a log-in."""
        told = await self.control("items/list", item_ids=[item.plaid_item_id for item in self.items])
        return [item for item, one in zip(self.items, told["items"], strict=True) if one["error_code"]]

    async def repair(self, item):
        """Let the user log in again; Plaid says so until it is heard."""
        await self.control("items/repair", item_id=item.plaid_item_id, announce=False)
        await self.announce(item, "LOGIN_REPAIRED", "ITEM")
