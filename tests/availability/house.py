"""A whole service of a test's own: PostgreSQL, Redis, two workers and two beats, each of which may go and come back."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time

import asyncpg

from devstack.compare import compare
from devstack.postgres import Postgres
from devstack.stack import CELERY
from tests.conftest import ROOT
from tests.faults.conftest import COMMITS, Stage

ITEMS = 24
TRANSACTIONS = 60
HELD = 12
TTL_SECONDS = 2
# What is lost comes back after the lease's time and the dispatcher's tick, and no longer than ten seconds after; the
# rest is for a machine that is busy with other tests.
PATIENCE_SECONDS = TTL_SECONDS + 10 + 88
# Where a message may have been lost unnoticed: the five minutes of its claim are taken as over by then.
CLAIM_RUNS_OUT_SECONDS = 30
CLAIMS_END = """
UPDATE item_schedules SET due_at = now()
WHERE due_at > now() AND item_id IN (SELECT id FROM plaid_items WHERE last_synced_at < $1)
"""


class House(Stage):
    """The processes and servers of one test; each ends with it."""

    def __init__(self, supervisor, logs, redis) -> None:
        super().__init__(supervisor, logs, None, "")
        self.postgres = Postgres(supervisor, logs, durable=True)
        self.told_to_end = set()
        self.redis = redis

    async def open(self, given):
        """Start the servers and the simulated bank, and migrate; `given` takes the environment."""
        self.redis.start()
        self.postgres.prepare()
        self.postgres.start()
        self.postgres.create_database()
        said = self.start("simulator", [sys.executable, "-m", "simulator"], "listening")
        self.simulator = re.search(r"http://\S+", said)[0]
        given("DATABASE_URL", self.postgres.url)
        given("REDIS_URL", self.redis.url)
        given("PLAID_BASE_URL", self.simulator)
        given("SYNC_LOCK_TTL_SECONDS", str(TTL_SECONDS))
        given("SYNC_DISPATCH_SECONDS", "0.5")
        given("SYNC_PAGE_SIZE", "25")
        migrate = [sys.executable, "-m", "alembic", "upgrade", "head"]
        await asyncio.to_thread(subprocess.run, migrate, env=os.environ, cwd=ROOT, check=True, capture_output=True)
        self.connection = await asyncpg.connect(self.postgres.url)

    def assert_alive(self):
        """Whoever was not told to end is there still."""
        ended = {name: self.supervisor.exited(name) for name in self._pids.keys() - self.told_to_end}
        assert set(ended.values()) == {None}, ended

    def signal(self, name, number):
        self.told_to_end.add(name)
        super().signal(name, number)

    def start_beat(self, name="beat"):
        self.start(name, [*CELERY, "beat", "-s", str(self.logs / f"{name}-schedule")], "Starting")

    async def until(self, question):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.connection.fetchval(question):
                await self.connection.execute("SELECT pg_sleep(0.05)")

    async def link(self):
        """Link Items of three pages and wait until they are synced."""
        linked = (await self.ask("/control/items", count=ITEMS, transactions=TRANSACTIONS))["items"]
        lines = [{"user_id": "u", "plaid_item_id": i["item_id"], "access_token": i["access_token"]} for i in linked]
        self.manna("items", "import", "-", given="\n".join(map(json.dumps, lines)))
        await self.until(f"SELECT count(*) = {ITEMS} FROM plaid_items WHERE version > 0")

    async def begin(self):
        """The banks change, every Item comes due, and some are held between two pages by the workers that have them."""
        await self.ask("/control/evolve", added=50, modified=10, removed=5)
        fault = await self.ask("/control/faults", kind="hold", path="/transactions/sync", page="middle", times=HELD)
        await self.connection.execute("UPDATE plaid_items SET next_sync_at = now()")
        await self.ask("/control/held", fault_id=fault["fault_id"], count=HELD, timeout=50)

    async def end(self, *, loses_messages=False):
        """Let the held ones go; wait until every Item has the changes, and tell in how many seconds that was."""
        began = time.monotonic()
        await self.ask("/control/release")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.behind():
                await self.connection.execute("SELECT pg_sleep(0.05)")
                if loses_messages and time.monotonic() - began > CLAIM_RUNS_OUT_SECONDS:
                    await self.connection.execute(CLAIMS_END, self.began)
                    loses_messages = False
        return time.monotonic() - began

    async def behind(self):
        """How many Items differ from the ledger."""
        missing = "SELECT count(*) FROM plaid_items WHERE next_sync_at IS NULL OR last_synced_at < $1"
        return await self.connection.fetchval(missing, self.began)

    async def disturbed(self, disturb, *, loses_messages=False):
        """A round with something happening in the middle of it, and a quiet round after it."""
        await self.begin_round()
        await disturb(self)
        seconds = await self.end(loses_messages=loses_messages)
        await self.assert_equal()
        await self.begin_round()
        await self.end()
        await self.assert_equal()
        return seconds

    async def begin_round(self):
        self.began = await self.connection.fetchval("SELECT clock_timestamp()")
        await self.begin()

    async def assert_equal(self):
        """The ledger's rows and no others, and one audit event for each commit."""
        found = await compare(self.connection, self.simulator)
        assert found.differences == ()
        assert found.items == ITEMS
        commits = await self.connection.fetchval("SELECT sum(version)::int FROM plaid_items")
        assert await self.connection.fetchval(COMMITS) == commits
        assert await self.connection.fetchval("SELECT count(*) FROM plaid_items WHERE error_code IS NOT NULL") == 0
