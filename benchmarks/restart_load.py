"""A steady load whose every sync is accounted for: banks that change, half of them told by webhook.

The other half is only marked in the database, as after a webhook whose message was lost: the dispatcher finds it.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import asyncpg
import httpx

from devstack.stack import Stack

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
PACE_SECONDS = 0.05
ATTEMPTS = 3
CHANGES = {"added": 2, "modified": 1, "removed": 1}
CREATE = "CREATE TABLE bench_asked (item_id uuid NOT NULL, at timestamptz NOT NULL)"
ASK = """
WITH moved AS (
    UPDATE plaid_items SET sync_requested_at = clock_timestamp(), next_sync_at = least(next_sync_at, now())
    WHERE plaid_item_id = ANY($1) RETURNING id, sync_requested_at
)
INSERT INTO bench_asked SELECT id, sync_requested_at FROM moved
"""
# A sync answers whoever asked before it began: what it asks Plaid for comes after that.
ANSWERED = """
WITH asked AS (SELECT item_id, at FROM bench_asked UNION ALL SELECT item_id, received_at FROM webhook_events),
answered AS (
    SELECT asked.at, (
        SELECT min(finished_at) FROM sync_runs AS run
        WHERE run.item_id = asked.item_id AND run.status = 'succeeded' AND run.started_at >= asked.at
    ) AS done FROM asked
)
"""
UNANSWERED = ANSWERED + "SELECT count(*) FROM answered WHERE done IS NULL"  # noqa: S608 - constants
# Of what was asked before a server came back and was not answered before it went, the wait counts from its return.
WAITS = (
    ANSWERED
    + """
SELECT greatest(0, extract(epoch FROM coalesce(done, clock_timestamp()))::float8 - CASE
    WHEN done < to_timestamp($1) THEN extract(epoch FROM at)::float8
    ELSE greatest(extract(epoch FROM at)::float8, $2) END) AS seconds
FROM answered
"""
)


@contextmanager
def loaded(stack: Stack, item_ids: Sequence[str]) -> Iterator[None]:
    """Change one bank after the other while the body runs; at its end all of them are durably asked for."""
    over = threading.Event()
    with ThreadPoolExecutor(1, "load") as thread:
        running = thread.submit(asyncio.run, Load(stack, item_ids).run(over))
        try:
            yield
        finally:
            over.set()
        running.result()


class Load:
    """Changes banks, and asks until somebody has heard."""

    def __init__(self, stack: Stack, item_ids: Sequence[str]) -> None:
        self._stack = stack
        self._item_ids = item_ids
        self._untold: list[str] = []
        self._connection: Any = None
        self._is_heard = True

    async def run(self, over: threading.Event) -> None:
        """Go on until it is over and everything was heard."""
        async with httpx.AsyncClient(base_url=self._stack.simulator_url, timeout=60) as bank:
            for number in count():
                if over.is_set():
                    break
                await self._change(bank, number)
                await self._tell(bank)
                await asyncio.sleep(PACE_SECONDS)
            await self._end(bank)

    async def _change(self, bank: httpx.AsyncClient, number: int) -> None:
        item_id = self._item_ids[number % len(self._item_ids)]
        announce = number % 2 == 0
        asked = {"item_ids": [item_id], **CHANGES, "announce": announce}
        (await bank.post("/control/evolve", json=asked)).raise_for_status()
        if not announce:
            self._untold.append(item_id)

    async def _tell(self, bank: httpx.AsyncClient) -> None:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._stack.servers.database_url, timeout=2)
            await self._connection.execute(ASK, self._untold)
        except AWAY:
            self._connection, self._is_heard = None, False
            return
        self._untold.clear()
        if not self._is_heard:
            # Plaid comes again after 30 s; nobody waits for that here.
            await bank.post("/control/webhooks/retry", json={})
        self._is_heard = True

    async def _end(self, bank: httpx.AsyncClient) -> None:
        while self._untold:
            await self._tell(bank)
            await asyncio.sleep(PACE_SECONDS)
        for _ in range(ATTEMPTS):
            answer = await bank.post("/control/webhooks", json={"wait": True})
            if all(one["state"] == "delivered" for one in answer.json()["webhooks"]):
                break
            await bank.post("/control/webhooks/retry", json={})
        else:
            raise RuntimeError("a webhook was not taken although everything runs")
        await self._connection.close()
