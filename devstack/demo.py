"""`make demo`: links Items, syncs them through the queue, changes them, syncs again, compares every row."""

import asyncio
import json
import time

import asyncpg
import httpx

from devstack.compare import Comparison, compare
from devstack.narration import Narration, open_narration
from devstack.rounds import SEALED, SYNCED, SYNCED_BY_WEBHOOK, until
from devstack.stack import Stack, link_items, open_stack
from devstack.state import find_state

CHANGES = {"added": 20, "modified": 10, "removed": 5, "posted": 3}
SHOWN = 20
DISTINCT_COMMITS = "SELECT count(*), count(DISTINCT context ->> 'run_id') FROM audit_events WHERE event_type = $1"
LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) FROM (
    SELECT extract(epoch FROM min(run.finished_at) - event.received_at)::float8 AS seconds
    FROM webhook_events AS event JOIN sync_runs AS run ON run.item_id = event.item_id
    WHERE run.status = 'succeeded' AND run.started_at >= event.received_at GROUP BY event.id, event.received_at
) AS waits
"""


def run_demo(items: int = 60, transactions: int = 1000) -> int:
    """Tell the whole story and return 0 only if nothing differs."""
    with open_narration() as narration:
        narration.say("starting PostgreSQL, Redis, simulator, web, worker, audit consumer and beat")
        with open_stack() as stack:
            return asyncio.run(_Demo(narration, stack, items, transactions).tell())


def check_only() -> int:
    """Compare the stack that `make up` keeps running, and return 0 only if nothing differs.

    Raises:
        StackError: none is running.
    """
    state = find_state()

    async def look() -> Comparison:
        connection = await asyncpg.connect(state["DATABASE_URL"])
        try:
            return await compare(connection, state["PLAID_BASE_URL"])
        finally:
            await connection.close()

    with open_narration() as narration:
        found = asyncio.run(look())
        _tell_differences(narration, found)
        narration.say(f"compared {found.rows:,} rows of {found.items:,} Items: {len(found.differences)} differences")
    return 0 if found.is_good else 1


def _tell_differences(narration: Narration, found: Comparison) -> None:
    for line in found.differences[:SHOWN]:
        narration.say(line)
    if len(found.differences) > SHOWN:
        narration.say(f"... and {len(found.differences) - SHOWN:,} more")


class _Demo:
    """One telling: its figures gather as it goes on."""

    def __init__(self, narration: Narration, stack: Stack, items: int, transactions: int) -> None:
        self._narration = narration
        self._stack = stack
        self._items = items
        self._transactions = transactions
        self._figures = {"items": f"{items:,}", "transactions": f"{items * transactions:,}"}

    async def tell(self) -> int:
        """Tell it and return the exit code."""
        self._connection = await asyncpg.connect(self._stack.servers.database_url)
        try:
            item_ids = await self._first_round()
            await self._second_round()
            is_good = await self._compared(item_ids)
            is_proven = await self._audited()
        finally:
            await self._connection.close()
        self._narration.summary("Manna Sync, end to end", self._figures)
        return 0 if is_good and is_proven else 1

    async def _first_round(self) -> list[str]:
        began = time.monotonic()
        linked = link_items(self._stack, self._items, self._transactions)
        self._narration.say(f"linked {len(linked)} Items with {self._items * self._transactions:,} transactions")
        await until(self._connection, self._narration, SYNCED, "Items synced", self._items)
        seconds = time.monotonic() - began
        rows = self._items * self._transactions
        self._figures["first round"] = (
            f"{seconds:.1f} s, {self._items / seconds:.1f} items/s, {rows / seconds:,.0f} tx/s"
        )
        return linked

    async def _second_round(self) -> None:
        async with httpx.AsyncClient(base_url=self._stack.simulator_url, timeout=60) as client:
            changed = (await client.post("/control/evolve", json={**CHANGES, "announce": True})).json()
        told = ", ".join(f"{changed[name]:,} {name}" for name in CHANGES)
        self._narration.say(f"the banks changed and announced it by {changed['announced']} signed webhooks: {told}")
        await until(
            self._connection, self._narration, SYNCED_BY_WEBHOOK, "Items synced after their webhook", self._items
        )
        p50, p95 = await self._connection.fetchval(LATENCY)
        self._figures["second round"] = told
        self._figures["webhook to commit"] = f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms"

    async def _compared(self, item_ids: list[str]) -> bool:
        found = await compare(self._connection, self._stack.simulator_url, item_ids)
        _tell_differences(self._narration, found)
        self._figures["compared with the ledger"] = f"{found.rows:,} rows: {len(found.differences)} differences"
        return found.is_good

    async def _audited(self) -> bool:
        await until(self._connection, self._narration, SEALED, "audit events sealed")
        commits = await self._connection.fetchval("SELECT sum(version) FROM plaid_items")
        events, distinct = await self._connection.fetchrow(DISTINCT_COMMITS, "plaid:item:synced")
        proof = json.loads(self._stack.run("cli", "audit", "verify", "--json"))
        verdict = proof["problem"] or "every link holds"
        self._figures["audit chain"] = f"verified, {proof['events']:,} events: {verdict}"
        self._figures["commits"] = f"{commits:,}, with {events:,} audit events, {distinct:,} of them distinct"
        return proof["problem"] is None and commits == events == distinct
