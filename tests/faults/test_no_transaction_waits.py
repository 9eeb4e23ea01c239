"""While Plaid is being waited for, PostgreSQL holds nothing for us: neither a transaction nor a lock."""

import asyncio

from tests.faults.test_two_at_once import linked_item, simulator, sync

__all__ = ["simulator"]

OPEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
"""


async def test_no_transaction_is_open_while_a_page_is_waited_for(simulator, settings):
    async with linked_item(simulator, settings) as (resources, item_id, bank, connection):
        await bank.post("/control/faults", json={"kind": "hold", "page": "middle"})
        running = asyncio.create_task(sync(resources, item_id))
        held = (await bank.post("/control/held", json={"count": 1})).json()
        waiting = await connection.fetchval(OPEN)
        rows = await connection.fetchval("SELECT count(*) FROM transactions")
        await bank.post("/control/release", json={})
        assert (len(held["held"]), waiting, rows) == (1, 0, 0)
        assert await running == "succeeded"
        assert await connection.fetchval("SELECT count(*) FROM transactions") == 40
