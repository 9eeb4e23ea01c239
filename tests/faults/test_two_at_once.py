"""Two hundred times two workers sync one Item at once, while its bank moves on: with the lock, and without it."""

import asyncio
import re
import sys
from contextlib import asynccontextmanager
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
SYNCED = "plaid:item:synced"


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


@asynccontextmanager
async def linked_item(simulator, settings):
    """A process with an Item of its own, the bank's control, and a way to look into the database."""
    connection = await asyncpg.connect(settings.database_url)
    async with open_resources(load_settings()) as resources, httpx.AsyncClient(base_url=simulator) as bank:
        linked = (await bank.post("/control/items", json={"count": 1, "transactions": 40})).json()["items"][0]
        new = NewItem("u", linked["item_id"], linked["access_token"])
        (item_id,) = await register_items(resources.database, [new], "operator:test")
        yield resources, item_id, bank, connection
    await connection.close()


async def sync(resources, item_id):
    return (await sync_item(resources, item_id, SyncTrigger.SCHEDULED)).status.value


async def assert_one_version_for_each_commit(connection, commits):
    assert await connection.fetchval("SELECT version FROM plaid_items") == commits
    assert await connection.fetchval(COMMITS) == commits
    # Two that had read one version and both committed would tell the same number.
    told = await connection.fetch("SELECT context ->> 'version' FROM audit_outbox WHERE event_type = $1", SYNCED)
    assert sorted(int(version) for (version,) in told) == list(range(1, commits + 1))


@pytest.mark.parametrize("guarded", [lambda resources: resources, without_the_lock], ids=["with lock", "without"])
async def test_pairs_of_syncs_leave_the_ledger_and_a_version_for_each_commit(simulator, settings, guarded):
    async with linked_item(simulator, settings) as (resources, item_id, bank, connection):
        statuses = []
        for number in range(1, PAIRS + 1):
            await bank.post("/control/evolve", json=CHANGES)
            statuses += await asyncio.gather(*(sync(guarded(resources), item_id) for _ in range(2)))
            # A row that is lost or wrong stays so: it is found at the next look.
            assert number % LOOK_EVERY or (await compare(connection, simulator)).is_good
        commits = statuses.count("succeeded")
        assert commits >= PAIRS
        assert commits + statuses.count("skipped") == 2 * PAIRS
        # They did meet.
        assert statuses.count("skipped") > PAIRS // 2
        await assert_one_version_for_each_commit(connection, commits)


async def test_who_read_before_a_rival_committed_writes_nothing_over_it(simulator, settings):
    async with linked_item(simulator, settings) as (resources, item_id, bank, connection):
        # The answer of the last page: all that the late one knows is old by the time it may write.
        fault = {"kind": "hold", "path": "/transactions/sync", "page": "middle", "after": 6, "phase": "response"}
        fault_id = (await bank.post("/control/faults", json=fault)).json()["fault_id"]
        late = asyncio.create_task(sync(without_the_lock(resources), item_id))
        assert (await bank.post("/control/held", json={"fault_id": fault_id})).json()["held"]
        await bank.post("/control/evolve", json={"added": 2, "modified": 20, "removed": 10})
        assert await sync(without_the_lock(resources), item_id) == "succeeded"
        await bank.post("/control/release", json={"fault_id": fault_id})
        assert await late == "skipped"
        assert (await compare(connection, simulator)).is_good
        await assert_one_version_for_each_commit(connection, 1)
