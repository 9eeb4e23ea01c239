"""Two Items, a queue whose messages may be lost, doubled or late, and workers that are held, cancelled or killed."""

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from uuid import uuid4

from core.errors import NotFoundError
from core.plaid.webhook_verification import VerifiedWebhook
from core.sync.sync_item import sync_item
from core.webhooks.inbox import Inbox
from tests.cases.world import World
from tests.machine.mortal import KilledError, mortal

SIGNED = count()
ROUNDS = 12


class Fleet(World):
    """The world of the cases, with a queue and workers under way."""

    async def begin(self):
        """Forget the fleet before, and link a new one."""
        self.queue = []
        self.working = []
        await self.control("faults/clear")
        for table in ("plaid_items", "circuit_breakers", "staged_transactions", "audit_outbox"):
            await self.sql(f"DELETE FROM {table}")
        await self.resources.redis.flushdb()
        self.outbox.take()
        self.items = await self.link(count=2, transactions=12, institution_id="ins_109511")
        # What the bank had, time after time, and at which of these times our rows were last.
        self.history = {item.id: [{}] for item in self.items}
        self.reached = dict.fromkeys(self.history, 0)

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
            rows = "SELECT transaction_id, amount FROM transactions WHERE item_id = :id AND removed_at IS NULL"
            ours = dict(await self.sql(rows, id=item.id))
            times = [time for time in range(self.reached[item.id], len(past)) if past[time] == ours]
            assert times, f"these rows never were at the bank, or not since time {self.reached[item.id]}: {ours}"
            self.reached[item.id] = times[0]

    async def announce(self, item, code="SYNC_UPDATES_AVAILABLE", kind="TRANSACTIONS"):
        """Receive a webhook."""
        body = {"webhook_type": kind, "webhook_code": code, "item_id": item.plaid_item_id}
        proof = VerifiedWebhook(datetime.now(UTC), hashlib.sha256(str(next(SIGNED)).encode()).hexdigest())
        inbox = Inbox(self.resources)
        await inbox.receive(json.dumps(body).encode(), proof)
        await inbox.idle()
        self.collect()

    async def work(self, message, steps=None, *, leased=True):
        """Do what a message asks for, as a worker that may die of it."""
        resources = mortal(self.resources, steps)
        if not leased:
            resources = replace(resources, lease=lambda _: self.resources.lease(uuid4()))
        try:
            await sync_item(resources, *message)
        except (KilledError, NotFoundError):
            pass
        finally:
            self.collect()

    async def beat(self):
        """Let beat tick."""
        self.queue += await self.tick()

    async def hold(self, message, **where):
        """Begin what a message asks for, and let it be held at the bank, if it comes so far."""
        fault_id = int((await self.control("faults", kind="hold", **where))["fault_id"])
        worker = asyncio.create_task(self.work(message))
        held = asyncio.create_task(self.control("held", fault_id=fault_id))
        await asyncio.wait({worker, held}, return_when=asyncio.FIRST_COMPLETED)
        await self.clear(fault_id)
        if not worker.done():
            self.working.append((worker, fault_id))
        held.cancel()
        await asyncio.wait({held})
        if worker.done():
            worker.result()

    async def go_on(self, worker, fault_id, how):
        """Let a held worker go on, or have its connection cut."""
        await self.control("release", fault_id=fault_id, how=how)
        await worker

    async def cancel(self, worker, fault_id):
        """Stop a worker as a warm shutdown does when its time is over."""
        worker.cancel()
        await asyncio.wait({worker})
        await self.control("release", fault_id=fault_id)

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

    async def drain(self):
        """Let every trouble end, and time pass, until nothing is left to do."""
        await self.control("faults/clear")
        for worker, fault_id in self.working:
            await self.go_on(worker, fault_id, "continue")
        self.working.clear()
        for one in await self.broken():
            await self.repair(one)
        for _ in range(ROUNDS):
            await self.time_passes(leases_run_out=True)
            await self.beat()
            while self.queue:
                await self.work(self.queue.pop())
            if await self.is_quiet():
                break
        await self.check(*self.items)

    async def is_quiet(self):
        """Tell whether both sides agree and no breaker is open."""
        if await self.sql("SELECT 1 FROM circuit_breakers UNION SELECT 1 FROM sync_runs WHERE status = 'running'"):
            return False
        return not await self.drift(*self.items)

    async def broken(self):
        """Return the Items that ask for a log-in."""
        told = await self.control("items/list", item_ids=[item.plaid_item_id for item in self.items])
        return [item for item, one in zip(self.items, told["items"], strict=True) if one["error_code"]]

    async def repair(self, item):
        """Let the user log in again; Plaid says so until it is heard."""
        await self.control("items/repair", item_id=item.plaid_item_id, announce=False)
        await self.announce(item, "LOGIN_REPAIRED", "ITEM")
