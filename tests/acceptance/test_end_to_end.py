"""The whole way on real parts: queue, worker, lease, decrypt, pages over HTTP, commit, webhook, audit consumer."""

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx
import pytest

from devstack.places import answers, free_port
from devstack.processes import Supervisor, open_supervisor
from tests.conftest import ROOT

SYNC_QUEUES = "sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance"
CELERY = [sys.executable, "-m", "celery", "-A", "worker"]


class Stack:
    """The processes of one test, all ended with it."""

    def __init__(self, supervisor: Supervisor, logs: Path) -> None:
        self.supervisor = supervisor
        self.logs = logs
        self.simulator = ""
        self.web = ""

    def start(self, name, argv, ready):
        log = self.logs / f"{name}.log"
        self.supervisor.start(name, argv, log=log)
        self.supervisor.wait_ready(name, lambda: ready(log.read_text()))
        return log.read_text()

    def ask(self, path, **fields):
        answer = httpx.post(self.simulator + path, json=fields, timeout=60)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def stack(settings, tmp_path, monkeypatch):
    with open_supervisor() as supervisor:
        stack = Stack(supervisor, tmp_path)
        said = stack.start("simulator", [sys.executable, "-m", "simulator", "--seed", "7"], lambda t: "listening" in t)
        stack.simulator = re.search(r"http://\S+", said)[0]
        monkeypatch.setenv("PLAID_BASE_URL", stack.simulator)
        yield stack


def manna(*arguments, given=""):
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ndjson(items):
    return "\n".join(
        json.dumps({"user_id": "u", "plaid_item_id": item["item_id"], "access_token": item["access_token"]})
        for item in items
    )


async def differences(stack, connection, items):
    """Compare every standing row with the simulator's ledger."""
    found = []
    for item in items:
        truth = stack.ask("/control/ledger", item_id=item["item_id"])["transactions"]
        expected = {
            (t["transaction_id"], Decimal(str(t["amount"])), t["date"], t["merchant_name"], t["pending"]) for t in truth
        }
        stored = await connection.fetch(
            "SELECT transaction_id, amount, date::text, merchant_name, pending FROM transactions"
            " WHERE removed_at IS NULL"
            " AND item_id = (SELECT id FROM plaid_items WHERE plaid_item_id = $1)",
            item["item_id"],
        )
        found += expected ^ {tuple(row) for row in stored}
    return found


def test_items_sync_through_the_queue_and_again_after_webhooks(stack, settings):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    quiet = ["--without-gossip", "--without-mingle"]
    stack.start("worker", [*CELERY, "worker", "-Q", SYNC_QUEUES, *quiet, "-n", "sync@%h"], lambda t: "ready" in t)
    stack.start("audit", [*CELERY, "worker", "-Q", "audit", *quiet, "-n", "audit@%h"], lambda t: "ready" in t)
    stack.start("web", [sys.executable, "-m", "cli", "web", "--port", str(port)], lambda _: answers(port))
    items = stack.ask("/control/items", count=3, transactions=1200, webhook=f"{address}/webhooks/plaid")["items"]
    manna("items", "import", "-", given=ndjson(items))
    schedule = str(stack.logs / "schedule")
    stack.start("beat", [*CELERY, "beat", "-s", schedule], lambda t: "beat: Starting" in t)

    import asyncio  # noqa: PLC0415 - the processes above are started without a loop

    asyncio.run(_story(stack, settings, items))


async def _story(stack, settings, items):
    connection = await asyncpg.connect(settings.database_url)

    async def holds(question):
        return bool(await connection.fetchval(question))

    async def until(question):
        while not await holds(question):
            # The database itself waits a little: no client sleeps, and the test's time-out bounds it.
            await connection.execute("SELECT pg_sleep(0.05)")

    await until("SELECT count(*) = 3 FROM plaid_items WHERE version > 0")
    assert await connection.fetchval("SELECT count(*) FROM transactions") == 3600
    assert await differences(stack, connection, items) == []

    changed = stack.ask("/control/evolve", added=20, modified=10, removed=5, posted=3, announce=True)
    assert changed["announced"] == 3
    delivered = stack.ask("/control/webhooks")["webhooks"]
    assert [one["status"] for one in delivered] == [200] * 3
    await until("SELECT count(DISTINCT item_id) = 3 FROM sync_runs WHERE trigger = 'webhook' AND status = 'succeeded'")
    assert await differences(stack, connection, items) == []
    assert await holds("SELECT count(*) > 0 FROM transactions WHERE removed_at IS NOT NULL")

    await until("SELECT count(*) = 0 FROM audit_outbox")
    commits = await connection.fetchval("SELECT sum(version) FROM plaid_items")
    events = await connection.fetch(
        "SELECT context ->> 'run_id' FROM audit_events WHERE event_type = 'plaid:item:synced'"
    )
    assert len(events) == len(set(events)) == commits
    assert json.loads(manna("audit", "verify", "--json"))["problem"] is None
    await connection.close()


async def test_a_wrong_row_is_found_by_the_comparison(stack, settings):
    items = stack.ask("/control/items", count=1, transactions=10)["items"]
    manna("items", "import", "-", given=ndjson(items))
    assert "1 done, 0 failed" in manna("items", "sync", "--all", "--wait")
    connection = await asyncpg.connect(settings.database_url)
    assert await differences(stack, connection, items) == []
    await connection.execute(
        "UPDATE transactions SET amount = amount + 1"
        " WHERE transaction_id = (SELECT min(transaction_id) FROM transactions)"
    )
    assert len(await differences(stack, connection, items)) == 2
    await connection.close()


async def test_a_forged_webhook_is_refused(stack, settings):
    from web.app import make_app  # noqa: PLC0415 - reads the environment of this test

    app = make_app()
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for headers in ({}, {"Plaid-Verification": "eyJhbGciOiJub25lIn0.e30."}):
                answer = await client.post("/webhooks/plaid", content=b"{}", headers=headers)
                assert answer.status_code == 401
            health = (await client.get("/health")).json()
    assert health["security"]["encryption_enabled"]
