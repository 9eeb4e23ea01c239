"""Waits for what the service is doing by asking the database, and tells how far it is."""

import asyncio
import time
from typing import Any

from devstack.errors import StackError
from devstack.narration import Narration

ROUND_SECONDS = 120
ASK_SECONDS = 0.2
SYNCED = "SELECT count(*) FROM plaid_items WHERE version > 0"
SYNCED_BY_WEBHOOK = "SELECT count(DISTINCT item_id) FROM sync_runs WHERE trigger = 'webhook' AND status = 'succeeded'"
SEALED = "SELECT (SELECT count(*) FROM audit_events), (SELECT count(*) FROM audit_outbox)"


async def until(connection: Any, narration: Narration, question: str, what: str, goal: int = 0) -> None:
    """Return once as many are done as `goal`; a question whose second figure is what is left needs no goal.

    Raises:
        StackError: two minutes were not enough.
    """
    deadline = time.monotonic() + ROUND_SECONDS
    while True:
        done, *left = await connection.fetchrow(question)
        aim = done + left[0] if left else goal
        narration.progress(what, done, aim)
        if done >= aim:
            return
        if time.monotonic() > deadline:
            raise StackError(f"after {ROUND_SECONDS} s only {done:,} of {aim:,} {what}")
        await asyncio.sleep(ASK_SECONDS)
