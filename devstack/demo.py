"""`make demo`: links Items, syncs them through the queue, changes them, syncs again, compares every row."""

import asyncio
import contextlib
import json
import sys
import threading
import time
from typing import Any

import asyncpg
import httpx

from devstack.compare import differences
from devstack.stack import Stack, open_stack

CHANGES = {"added": 20, "modified": 10, "removed": 5, "posted": 3}
ROUND_SECONDS = 120
DISTINCT_COMMITS = "SELECT count(*), count(DISTINCT context ->> 'run_id') FROM audit_events WHERE event_type = $1"
SYNCED = "SELECT count(*), {} FROM plaid_items WHERE version > 0"
LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) FROM (
    SELECT extract(epoch FROM min(run.finished_at) - event.received_at)::float8 AS seconds
    FROM webhook_events AS event JOIN sync_runs AS run ON run.item_id = event.item_id
    WHERE run.status = 'succeeded' AND run.started_at >= event.received_at GROUP BY event.id, event.received_at
) AS waits
"""


def say(line: str) -> None:
    """Print a line of the story at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_demo(items: int = 60, transactions: int = 1000) -> int:
    """Tell the whole story and return 0 only if nothing differs."""
    with open_stack() as stack:
        say(f"stack is up: web {stack.web_url}, simulator {stack.simulator_url}")
        return asyncio.run(_tell(stack, items, transactions))


def run_up(items: int = 10, transactions: int = 500) -> None:
    """Keep the stack running, with a few Items linked, until Ctrl-C."""
    with open_stack() as stack:
        asked = {"count": items, "transactions": transactions, "webhook": f"{stack.web_url}/webhooks/plaid"}
        answer = httpx.post(f"{stack.simulator_url}/control/items", json=asked, timeout=60)
        stack.run("cli", "items", "import", "-", given=_ndjson(answer.json()["items"]))
        say(f"API docs  {stack.web_url}/docs\nhealth    {stack.web_url}/health\nsimulator {stack.simulator_url}")
        say("Ctrl-C ends it all")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


async def _tell(stack: Stack, items: int, transactions: int) -> int:
    connection = await asyncpg.connect(stack.servers.database_url)
    async with httpx.AsyncClient(base_url=stack.simulator_url, timeout=60) as client:
        asked = {"count": items, "transactions": transactions, "webhook": f"{stack.web_url}/webhooks/plaid"}
        linked = (await client.post("/control/items", json=asked)).json()["items"]
        say(f"linked {len(linked)} Items with {items * transactions:,} transactions")
        began = time.monotonic()
        stack.run("cli", "items", "import", "-", given=_ndjson(linked))
        await _until(connection, SYNCED.format(items), "synced")
        seconds = time.monotonic() - began
        say(f"first round: {items / seconds:.1f} items/s, {items * transactions / seconds:,.0f} tx/s")
        changed = (await client.post("/control/evolve", json={**CHANGES, "announce": True})).json()
        say(f"the banks changed: {', '.join(f'{changed[name]} {name}' for name in CHANGES)}")
    by_webhook = "SELECT count(DISTINCT item_id) FROM sync_runs WHERE trigger = 'webhook' AND status = 'succeeded'"
    await _until(connection, by_webhook.replace(" FROM", f", {items} FROM", 1), "synced after a webhook")
    p50, p95 = await connection.fetchval(LATENCY)
    say(f"webhook to commit: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
    is_good = await _check(stack, connection, [item["item_id"] for item in linked])
    await connection.close()
    return 0 if is_good else 1


async def _check(stack: Stack, connection: Any, item_ids: list[str]) -> bool:
    found = [line for item_id in item_ids for line in await differences(connection, stack.simulator_url, item_id)]
    for line in found[:20]:
        say(line)
    rows = await connection.fetchval("SELECT count(*) FROM transactions WHERE removed_at IS NULL")
    say(f"compared {rows:,} rows: {len(found)} differences")
    await _until(connection, "SELECT -count(*), 0 FROM audit_outbox", "audit events left")
    commits = await connection.fetchval("SELECT sum(version) FROM plaid_items")
    events, distinct = await connection.fetchrow(DISTINCT_COMMITS, "plaid:item:synced")
    proof = json.loads(stack.run("cli", "audit", "verify", "--json"))
    say(f"audit chain of {proof['events']} events: {proof['problem'] or 'every link holds'}")
    say(f"{commits} commits, {events} commit events")
    return not found and proof["problem"] is None and commits == events == distinct


async def _until(connection: Any, question: str, what: str) -> None:
    told = -1
    async with asyncio.timeout(ROUND_SECONDS):
        while True:
            now, goal = await connection.fetchrow(question)
            if now != told:
                told = now
                say(f"  {abs(now)} {what}")
            if now >= goal:
                return
            await asyncio.sleep(0.2)


def _ndjson(linked: list[dict[str, str]]) -> str:
    fields = ({"user_id": "demo", "plaid_item_id": i["item_id"], "access_token": i["access_token"]} for i in linked)
    return "\n".join(map(json.dumps, fields))
