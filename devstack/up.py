"""`make up`: the same stack, left running, with its addresses."""

import asyncio
import contextlib
import threading

import asyncpg
import httpx

from devstack.narration import Narration, open_narration
from devstack.rounds import SYNCED, until
from devstack.stack import Stack, link_items, open_stack
from devstack.state import keep_state

PAGES = {"console": "/console", "API docs": "/docs", "health": "/health"}
SCOPES = ("items:read", "items:write", "syncs:read", "syncs:replay", "audit:read")
NOT_FOUND = 404
SERVER_ERROR = 500


def run_up(items: int = 10, transactions: int = 500) -> None:
    """Keep the stack running, with a few Items linked and synced, until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), open_narration() as narration:
        narration.say("starting PostgreSQL, Redis, simulator, web, worker, audit consumer, beat and Flower")
        with open_stack(with_flower=True) as stack:
            link_items(stack, items, transactions)
            asyncio.run(_first_round(stack, narration, items))
            state = keep_state(stack.servers.directory, stack.environment)
            narration.summary(f"{items} Items are linked and synced", addresses(stack))
            narration.say(f"log in     to the console with {_token(stack)}")
            narration.say(f"logs       {stack.servers.directory}/*.log")
            narration.say(f"manna      (set -a; . {state}; .venv/bin/manna items list)")
            narration.say("compare    make demo ARGS=--check-only")
            narration.say("Ctrl-C ends it all")
            threading.Event().wait()


def addresses(stack: Stack) -> dict[str, str]:
    """Return the addresses that really answer, by name."""
    found = {name: stack.web_url + path for name, path in PAGES.items()}
    if stack.flower_url is not None:
        found["Flower"] = stack.flower_url
    found = {name: url for name, url in found.items() if _is_there(url)}
    # It has shown that it listens when it was started, and answers POST only.
    return {**found, "simulator": stack.simulator_url}


def _token(stack: Stack) -> str:
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    return stack.run("cli", "tokens", "issue", "--subject", "up", "--ttl", "12h", *scopes).strip()


def _is_there(url: str) -> bool:
    try:
        status = httpx.get(url, timeout=10, follow_redirects=True).status_code
    except httpx.HTTPError:
        return False
    return status < SERVER_ERROR and status != NOT_FOUND


async def _first_round(stack: Stack, narration: Narration, items: int) -> None:
    connection = await asyncpg.connect(stack.servers.database_url)
    try:
        await until(connection, narration, SYNCED, "Items synced", items)
    finally:
        await connection.close()
