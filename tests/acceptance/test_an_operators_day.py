"""An operator's day: a bank goes down and comes back, and what needs a person is found, tried, replayed and watched.

Real processes, real servers, the simulator, the real Flower. What the service would wait for, the bank's next trial and
the two minutes over which its Items come back, is brought forward in the database: the test waits for no clock.
"""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from core.settings import load_settings
from devstack.compare import compare
from devstack.places import answers, free_port
from devstack.processes import open_supervisor
from devstack.stack import CELERY, QUIET, SYNC_QUEUES
from tests.conftest import ROOT

DOWN, OTHER = "ins_109508", "ins_109511"
AT_DOWN, AT_OTHER = 500, 200
CODE = "PRODUCTS_NOT_SUPPORTED"
LOG_IN = ("operator", "let-me-see")


class Day:
    """The processes, and what an operator has to look at them: commands, the database, /metrics and Flower."""

    def __init__(self, supervisor, logs, settings) -> None:
        self.supervisor = supervisor
        self.logs = logs
        self.settings = settings
        self.web_port, self.flower_port = free_port(), free_port()
        self.connection = None
        self.simulator = ""

    def start(self, name, argv, ready):
        log = self.logs / f"{name}.log"
        self.supervisor.start(name, argv, log=log)
        self.supervisor.wait_ready(name, lambda: ready(log.read_text()))
        return log.read_text()

    def start_service(self):
        for name, queues in (("sync", SYNC_QUEUES), ("audit", "audit")):
            argv = [*CELERY, "worker", "-Q", queues, *QUIET, "-n", f"{name}@%h"]
            self.start(name, argv, lambda said: "ready" in said)
        web = [sys.executable, "-m", "cli", "web", "--port", str(self.web_port)]
        self.start("web", web, lambda _: answers(self.web_port))
        flower = [*CELERY, "flower", "--address=127.0.0.1", f"--port={self.flower_port}"]
        self.start("flower", [*flower, "--basic_auth=" + ":".join(LOG_IN)], lambda _: answers(self.flower_port))
        self.start("beat", [*CELERY, "beat"], lambda said: "Starting" in said)

    async def bank(self, call, **fields):
        async with httpx.AsyncClient(base_url=self.simulator, timeout=60) as client:
            answer = await client.post(f"/control/{call}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def link(self, count, institution_id):
        found = await self.bank("items", count=count, transactions=4, institution_id=institution_id)
        lines = [
            {
                "user_id": "u",
                "plaid_item_id": one["item_id"],
                "access_token": one["access_token"],
                "institution_id": institution_id,
            }
            for one in found["items"]
        ]
        await self.manna("items", "import", "-", given="\n".join(map(json.dumps, lines)))

    async def manna(self, *arguments, given="", code=0):
        command = [sys.executable, "-m", "cli", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=os.environ, **pipes)
        out, error = await process.communicate(given.encode())
        assert process.returncode == code, error.decode()
        return out.decode()

    async def sql(self, statement):
        return await self.connection.fetchval(statement)

    async def until(self, question):
        """Wait until the database answers yes; the database itself waits a little between the questions."""
        async with asyncio.timeout(120):
            while not await self.sql(question):
                await self.sql("SELECT pg_sleep(0.1)")

    async def metric(self, name):
        """A metric's value as /metrics has it now; None while it is not told."""
        async with httpx.AsyncClient(timeout=60) as client:
            page = (await client.get(f"http://127.0.0.1:{self.web_port}/metrics")).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        return None if found is None else float(found[1])

    async def metric_shows(self, name, fits):
        """Wait until /metrics, whose readings are fifteen seconds old at most, shows what is expected."""
        async with asyncio.timeout(60):
            while (value := await self.metric(name)) is None or not fits(value):
                await self.sql("SELECT pg_sleep(0.25)")

    async def flower(self, path):
        async with httpx.AsyncClient(auth=LOG_IN, timeout=60) as client:
            answer = await client.get(f"http://127.0.0.1:{self.flower_port}{path}")
        assert answer.status_code == 200, answer.text
        return answer

    async def all_due(self):
        await self.sql("UPDATE plaid_items SET next_sync_at = now() WHERE next_sync_at IS NOT NULL")


@asynccontextmanager
async def opened(day):
    day.connection = await asyncpg.connect(day.settings.database_url)
    yield
    await day.connection.close()


@pytest.fixture
def day(settings, tmp_path, monkeypatch):
    with open_supervisor() as supervisor:
        day = Day(supervisor, tmp_path, settings)
        said = day.start("simulator", [sys.executable, "-m", "simulator"], lambda text: "listening" in text)
        day.simulator = re.search(r"http://\S+", said)[0]
        monkeypatch.setenv("PLAID_BASE_URL", day.simulator)
        monkeypatch.setenv("JWT_SIGNING_KEY", secrets.token_urlsafe(32))
        day.settings = load_settings()
        yield day


async def test_an_operators_day(day):
    async with opened(day):
        await day.link(AT_DOWN, DOWN)
        await day.link(AT_OTHER, OTHER)
        day.start_service()
        await day.until(f"SELECT count(*) = {AT_DOWN + AT_OTHER} FROM plaid_items WHERE version > 0")
        await the_bank_goes_down(day)
        await it_returns_and_its_items_recover_by_themselves(day)
        await others_need_a_person(day)
        await what_failed_is_found_and_tried_dry(day)
        await it_is_replayed_at_a_rate_and_watched(day)
        await flower_tells_names_ids_queues_and_no_secret(day)
        found = await compare(day.connection, day.simulator)
        assert (found.items, found.differences) == (AT_DOWN + AT_OTHER, ())


async def the_bank_goes_down(day):
    await day.bank("faults", kind="error", error_code="INSTITUTION_DOWN", institution_id=DOWN, times=None)
    await day.bank("evolve", added=2, modified=1)
    await day.all_due()
    await day.until("SELECT count(*) = 1 FROM circuit_breakers WHERE state = 'open'")
    # Those that were on their way to a worker when it opened are held back when they come due again, in five minutes.
    await day.until("SELECT count(*) = 0 FROM sync_runs WHERE status = 'running'")
    await day.sql("UPDATE plaid_items SET next_sync_at = now() WHERE next_sync_at IS NOT NULL AND parked_at IS NULL")
    await day.until(f"SELECT count(*) = {AT_DOWN} FROM plaid_items WHERE parked_at IS NOT NULL")
    await day.metric_shows(f'manna_breaker_open{{scope="institution:{DOWN}"}}', lambda value: value == 1)
    await day.metric_shows("manna_items_parked", lambda value: value == AT_DOWN)
    doctor = {one["part"]: one for one in json.loads(await day.manna("doctor", "--json"))}
    assert doctor["breakers"]["said"] == f"open: institution:{DOWN} (INSTITUTION_DOWN)"
    # The command that it names finds the failed runs, and one of them explains itself.
    words = doctor["breakers"]["commands"][0].split()
    assert words[0] == "manna"
    (first, *_) = json.loads(await day.manna(*words[1:], "--json"))
    told = json.loads(await day.manna("syncs", "show", str(first["id"]), "--json"))["explanation"]
    assert told["retry"]
    # The other bank's Items went on.
    behind = f"institution_id = '{OTHER}' AND (error_code IS NOT NULL OR version < 2)"
    assert await day.sql(f"SELECT count(*) FROM plaid_items WHERE {behind}") == 0


async def it_returns_and_its_items_recover_by_themselves(day):
    await day.bank("faults/clear")
    began = await day.sql("SELECT clock_timestamp()")
    await day.sql("UPDATE circuit_breakers SET probe_at = now()")
    await day.until("SELECT count(*) = 0 FROM plaid_items WHERE parked_at IS NOT NULL")
    await day.all_due()
    recovered = f"count(*) FILTER (WHERE error_code IS NULL AND last_synced_at > '{began}') = {AT_DOWN}"
    await day.until(f"SELECT {recovered} FROM plaid_items WHERE institution_id = '{DOWN}'")
    assert await day.sql("SELECT count(*) FROM circuit_breakers WHERE state = 'open'") == 0
    assert (await compare(day.connection, day.simulator)).differences == ()


async def others_need_a_person(day):
    await day.bank("faults", kind="error", error_code=CODE, institution_id=OTHER, times=None)
    await day.bank("evolve", added=1)
    await day.sql(f"UPDATE plaid_items SET next_sync_at = now() WHERE institution_id = '{OTHER}'")
    await day.until(f"SELECT count(*) = {AT_OTHER} FROM plaid_items WHERE error_code = '{CODE}'")
    await day.metric_shows(f'manna_items_failing{{error_code="{CODE}"}}', lambda value: value == AT_OTHER)


async def what_failed_is_found_and_tried_dry(day):
    options = ("--status", "failed", "--error-code", CODE, "--limit", "1000", "--json")
    listed = json.loads(await day.manna("syncs", "list", *options))
    assert len({run["item_id"] for run in listed}) == AT_OTHER
    # The bank was mended; nobody tells the service so.
    await day.bank("faults/clear")
    versions = await day.sql("SELECT sum(version) FROM plaid_items")
    tried = await day.manna("syncs", "replay", "--error-code", CODE, "--dry-run")
    assert f"{AT_OTHER} Items would be replayed; nothing was done" in tried
    assert await day.sql("SELECT count(*) FROM replays") == 0
    assert await day.sql("SELECT sum(version) FROM plaid_items") == versions


async def it_is_replayed_at_a_rate_and_watched(day):
    replaying = asyncio.create_task(
        day.manna("syncs", "replay", "--error-code", CODE, "--rate", "600/min", "--wait", "--json")
    )
    # Twenty seconds of work: /metrics shows it half done, and it is never ahead of its rate.
    await day.metric_shows('manna_replay_items{state="waiting"}', lambda value: 0 < value < AT_OTHER)
    found = json.loads(await replaying)
    assert (found["succeeded"], found["failed"], found["status"]) == (AT_OTHER, 0, "finished")
    paced = "SELECT extract(epoch FROM max(started_at) - min(started_at)) FROM sync_runs WHERE trigger = 'replay'"
    # A tick's worth may go out at once at either end.
    assert await day.sql(paced) >= AT_OTHER / 10 - 6
    asked = "SELECT count(*) FROM (SELECT event_type, actor FROM audit_events UNION ALL SELECT event_type, actor FROM"
    asked += " audit_outbox) AS events WHERE event_type LIKE '%replay%' AND actor LIKE 'operator:%'"
    assert await day.sql(asked) > 0
    assert await day.sql("SELECT count(*) FROM plaid_items WHERE error_code IS NOT NULL") == 0


async def flower_tells_names_ids_queues_and_no_secret(day):
    async with httpx.AsyncClient() as stranger:
        assert (await stranger.get(f"http://127.0.0.1:{day.flower_port}/api/tasks")).status_code == 401
    tasks = (await day.flower("/api/tasks?limit=2000")).json().values()
    names = {task["name"] for task in tasks}
    assert {"sync.items", "sync.dispatch_due", "sync.replay", "audit.consume"} <= names
    replayed = [task for task in tasks if task["name"] == "sync.items" and "'replay'" in task["kwargs"]]
    assert len(replayed) >= AT_OTHER / 50
    ids = {str(row["id"]) for row in await day.connection.fetch("SELECT id FROM plaid_items")}
    told = set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", " ".join(task["kwargs"] for task in replayed)))
    assert told
    assert told <= ids
    assert {task["state"] for task in replayed} <= {"SUCCESS", "STARTED", "RECEIVED"}
    assert all(task["retries"] == 0 for task in replayed)
    workers = (await day.flower("/api/workers?refresh=1")).json()
    (sync,) = [one for name, one in workers.items() if name.startswith("sync@")]
    assert {queue["name"] for queue in sync["active_queues"]} == set(SYNC_QUEUES.split(","))
    assert sync["stats"]["total"]["sync.items"] > 0
    pages = ["/", "/tasks", "/broker", "/metrics", "/api/tasks?limit=2000", "/api/workers", "/api/queues/length"]
    pages += [f"/worker/{name}" for name in workers]
    texts = {path: (await day.flower(path)).text for path in pages}
    assert any("sync.webhook" in text for text in texts.values())
    for secret in secrets_of(day):
        assert [path for path, text in texts.items() if secret in text] == []


def secrets_of(day):
    """What must stand nowhere: keys, passwords, and Plaid's secret; every token begins alike."""
    passwords = [re.search(r":([^:@/]+)@", url)[1] for url in (day.settings.database_url, day.settings.redis_url)]
    named = [os.environ[name] for name in ("MANNA_ENCRYPTION_KEY", "JWT_SIGNING_KEY", "PLAID_SECRET")]
    return [*passwords, *named, "access-sandbox-"]
