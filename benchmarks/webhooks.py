"""From a webhook to the committed rows: the whole stack idle, one Item's change announced at a time."""

import json
import statistics
import time
from typing import Any

import httpx

from benchmarks.sql import fetch, fetch_value, wait_until
from devstack.stack import Stack, open_stack

# Enough that none is announced twice within a second: Plaid signs by the second, and equal ones are one delivery.
ITEMS = 60
WAIT_SECONDS = 30
CHANGES = {"added": 3, "modified": 1, "removed": 1, "announce": True}
# The run closes in the transaction of the rows; what it says of its end is the last statement's time before the commit.
WAITS = """
SELECT extract(epoch FROM min(run.finished_at) - event.received_at)::float8 * 1000 AS ms
FROM webhook_events AS event JOIN sync_runs AS run ON run.item_id = event.item_id
WHERE run.trigger = 'webhook' AND run.status = 'succeeded' AND run.started_at >= event.received_at
GROUP BY event.id, event.received_at
"""
COMMITTED = "SELECT sum(version) FROM plaid_items"


def webhook_latency(webhooks: int) -> dict[str, Any]:
    """Return percentiles in ms: `received` from the stored receipt on, `announced` from before it is sent."""
    with open_stack() as stack, httpx.Client(base_url=stack.simulator_url, timeout=60) as client:
        item_ids = _link(stack, client)
        announced = [_announce(stack, client, item_ids[n % ITEMS]) for n in range(webhooks)]
        received = [row["ms"] for row in fetch(stack.servers.database_url, WAITS)]
    if len(received) != webhooks:
        raise RuntimeError(f"{webhooks} webhooks led to {len(received)} syncs")
    return {"webhooks": webhooks, "received_ms": _percentiles(received), "announced_ms": _percentiles(announced)}


def _link(stack: Stack, client: httpx.Client) -> list[str]:
    asked = {"count": ITEMS, "transactions": 100, "webhook": f"{stack.web_url}/webhooks/plaid"}
    linked = client.post("/control/items", json=asked).json()["items"]
    lines = "\n".join(_line(item) for item in linked)
    stack.run("cli", "items", "import", "-", given=lines)
    _until_version(stack, ITEMS)
    return [item["item_id"] for item in linked]


def _line(item: dict[str, str]) -> str:
    fields = {"user_id": "bench", "plaid_item_id": item["item_id"], "access_token": item["access_token"]}
    return json.dumps(fields)


def _announce(stack: Stack, client: httpx.Client, item_id: str) -> float:
    goal = int(fetch_value(stack.servers.database_url, COMMITTED)) + 1
    began = time.perf_counter()
    client.post("/control/evolve", json={"item_ids": [item_id], **CHANGES}).raise_for_status()
    _until_version(stack, goal, 0.002)
    return (time.perf_counter() - began) * 1000


def _until_version(stack: Stack, goal: int, poll_seconds: float = 0.05) -> None:
    url = stack.servers.database_url
    wait_until(url, COMMITTED, is_over=lambda sum_: sum_ >= goal, seconds=WAIT_SECONDS, poll_seconds=poll_seconds)


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
