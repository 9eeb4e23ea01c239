"""A stage for faults: real worker processes, beat, a simulator that holds requests, and a Redis of the test's own."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from devstack.compare import compare
from devstack.processes import open_supervisor
from devstack.stack import CELERY, QUIET, SYNC_QUEUES
from devstack.valkey import Valkey
from tests.conftest import ROOT

TTL_SECONDS = 1
# What is lost comes back after the time to live, the dispatcher's tick and a sync; the rest is for a busy machine.
RECOVERY_SECONDS = TTL_SECONDS + 20
PAGES = 3
TRANSACTIONS = 130
COMMITS = """
SELECT (SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:item:synced')
     + (SELECT count(*) FROM audit_events WHERE event_type = 'plaid:item:synced')
"""


class Stage:
    """The processes and servers of one test; each ends with it."""

    def __init__(self, supervisor, logs: Path, connection, dsn) -> None:
        self.supervisor = supervisor
        self.logs = logs
        self.connection = connection
        self.dsn = dsn
        self.simulator = ""
        self.item_id = ""
        self._pids = {}

    def start(self, name, argv, word):
        log = self.logs / f"{name}.log"
        self._pids[name] = self.supervisor.start(name, argv, log=log)
        self.supervisor.wait_ready(name, lambda: word in log.read_text())
        return log.read_text()

    def start_redis(self):
        """Start a Redis that a test may stop without stopping the other tests'."""
        valkey = Valkey(self.supervisor, self.logs, durable=False)
        valkey.start()
        ours = (child for child in psutil.Process().children(recursive=True) if child.name() == "valkey-server")
        self._pids["valkey"] = next(child.pid for child in ours if f":{valkey.port}" in " ".join(child.cmdline()))
        return valkey.url

    def start_worker(self, name):
        self.start(name, [*CELERY, "worker", "-Q", SYNC_QUEUES, *QUIET, "-n", f"{name}@%h"], "ready")

    def start_beat(self):
        self.start("beat", [*CELERY, "beat", "-s", str(self.logs / "schedule")], "Starting")

    def signal(self, name, number):
        """Send a signal to a process; one that kills is waited for."""
        process = psutil.Process(self._pids[name])
        process.send_signal(number)
        if number == signal.SIGKILL:
            while self.supervisor.exited(name) is None:
                psutil.wait_procs([process], timeout=1)

    def exited(self, name):
        """Wait for a process to end by itself; its exit code."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        process = psutil.Process(self._pids[name])
        # Asked again and again, since one that has ended stays a zombie until the supervisor looks.
        while (code := self.supervisor.exited(name)) is None and time.monotonic() < deadline:
            psutil.wait_procs([process], timeout=0.1)
        return code

    def said(self, name):
        return (self.logs / f"{name}.log").read_text()

    async def ask(self, call, /, **fields):
        async with httpx.AsyncClient(base_url=self.simulator, timeout=60) as client:
            answer = await client.post(call, json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def link(self):
        """Link an Item of three pages and hand it to the service."""
        (item,) = (await self.ask("/control/items", count=1, transactions=TRANSACTIONS))["items"]
        self.item_id = item["item_id"]
        line = {"user_id": "u", "plaid_item_id": item["item_id"], "access_token": item["access_token"]}
        self.manna("items", "import", "-", given=json.dumps(line))

    async def hold(self, **where):
        """Have the next request that fits held, and return the fault's id."""
        return (await self.ask("/control/faults", kind="hold", path="/transactions/sync", **where))["fault_id"]

    async def held(self, fault_id):
        """Return once a worker is held there."""
        assert (await self.ask("/control/held", fault_id=fault_id, timeout=50))["held"]

    async def release(self, fault_id):
        await self.ask("/control/release", fault_id=fault_id)

    def manna(self, *arguments, given=""):
        command = [sys.executable, "-m", "cli", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ, input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def until(self, question):
        """Wait until the database answers yes; the database itself waits a little between the questions."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            while not await self.connection.fetchval(question):
                await self.connection.execute("SELECT pg_sleep(0.05)")

    async def version(self):
        return await self.connection.fetchval("SELECT version FROM plaid_items")

    async def assert_whole(self, *, commits):
        """The ledger's rows and no others, a version for each commit, and one audit event for each."""
        found = await compare(self.connection, self.simulator, [self.item_id])
        assert found.differences == ()
        assert found.rows > 0
        assert await self.version() == commits
        assert await self.connection.fetchval(COMMITS) == commits
        succeeded = await self.connection.fetchval("SELECT count(*) FROM sync_runs WHERE status = 'succeeded'")
        assert succeeded == commits

    async def assert_goes_on(self, *, commits):
        """The bank moves on and the Item comes due: one more commit, and the ledger's rows again."""
        await self.ask("/control/evolve", added=5, modified=3, removed=2)
        await self.connection.execute("UPDATE plaid_items SET next_sync_at = now()")
        await self.until(f"SELECT version > {commits} FROM plaid_items")
        await self.assert_whole(commits=commits + 1)


@pytest.fixture
async def stage(settings, tmp_path, monkeypatch):
    with open_supervisor() as supervisor:
        connection = await asyncpg.connect(settings.database_url)
        stage = Stage(supervisor, tmp_path, connection, settings.database_url)
        redis_url = stage.start_redis()
        said = stage.start("simulator", [sys.executable, "-m", "simulator"], "listening")
        stage.simulator = re.search(r"http://\S+", said)[0]
        given = {
            "PLAID_BASE_URL": stage.simulator,
            "REDIS_URL": redis_url,
            "SYNC_LOCK_TTL_SECONDS": str(TTL_SECONDS),
            "SYNC_DISPATCH_SECONDS": "0.5",
            "SYNC_PAGE_SIZE": "50",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield stage
        await connection.close()
