"""Two hundred times two workers sync one Item at once, while its bank moves on: with the lock, and without it."""

import asyncio
import re
import sys
from dataclasses import replace
from uuid import uuid4

import asyncpg
import httpx
import pytest

from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.resources import open_resources
from core.settings import load_settings
from core.sync.sync_item import sync_item
from devstack.compare import compare
from devstack.processes import open_supervisor
from tests.faults.conftest import COMMITS

PAIRS = 200
CHANGES = {"added": 3, "modified": 3, "removed": 2, "posted": 1}
LOOK_EVERY = 20


@pytest.fixture
def simulator(settings, tmp_path, monkeypatch):
    with open_supervisor() as supervisor:
        log = tmp_path / "simulator.log"
        supervisor.start("simulator", [sys.executable, "-m", "simulator"], log=log)
        supervisor.wait_ready("simulator", lambda: "listening" in log.read_text())
        url = re.search(r"http://\S+", log.read_text())[0]
        monkeypatch.setenv("PLAID_BASE_URL", url)
        # Small enough that most syncs have several pages, between which a rival can step.
        monkeypatch.setenv("SYNC_PAGE_SIZE", "5")
        yield url


def without_the_lock(resources):
    # Each sync has a lease of its own, which is what no lease at all comes to.
    return replace(resources, lease=lambda _: resources.lease(uuid4()))


@pytest.mark.parametrize("guarded", [lambda resources: resources, without_the_lock], ids=["with lock", "without"])
async def test_pairs_of_syncs_leave_the_ledger_and_a_version_for_each_commit(simulator, settings, guarded):
    connection = await asyncpg.connect(settings.database_url)
    async with open_resources(load_settings()) as opened, httpx.AsyncClient(base_url=simulator) as bank:
        resources = guarded(opened)
        linked = (await bank.post("/control/items", json={"count": 1, "transactions": 40})).json()["items"][0]
        new = NewItem("u", linked["item_id"], linked["access_token"])
        (item_id,) = await register_items(opened.database, [new], "operator:test")
        statuses = []
        for number in range(1, PAIRS + 1):
            await bank.post("/control/evolve", json=CHANGES)
            both = (sync_item(resources, item_id, SyncTrigger.SCHEDULED) for _ in range(2))
            statuses += [outcome.status.value for outcome in await asyncio.gather(*both)]
            # A row that is lost or wrong stays so: it is found at the next look.
            assert number % LOOK_EVERY or (await compare(connection, simulator, [linked["item_id"]])).is_good
    commits = statuses.count("succeeded")
    assert commits >= PAIRS
    assert commits + statuses.count("skipped") == 2 * PAIRS
    assert await connection.fetchval("SELECT version FROM plaid_items") == commits
    assert await connection.fetchval(COMMITS) == commits
    assert await connection.fetchval("SELECT count(*) FROM transactions WHERE removed_at IS NOT NULL") >= PAIRS
    await connection.close()
