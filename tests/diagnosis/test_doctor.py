"""`manna doctor`: what is wrong, and the command that comes next."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from sqlalchemy import text

from core.diagnosis import State, _skew, diagnose
from core.heartbeat import BEAT_LEADER_KEY
from core.items.registration import NewItem, register_items
from core.settings import load_settings
from core.sync.due import dispatch_due
from core.sync.resend import TICKED_KEY
from devstack.places import free_port
from devstack.processes import open_supervisor
from tests.conftest import ROOT

CELERY = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle"]
QUEUES = "sync.webhook,maintenance,sync.replay,sync.scheduled,sync.backfill,audit"


@pytest.fixture(autouse=True)
def plaid_is_away(settings, monkeypatch):
    """Nothing of these tests leaves the machine."""
    monkeypatch.setenv("PLAID_BASE_URL", f"http://127.0.0.1:{free_port()}")


def doctor():
    command = [sys.executable, "-m", "cli", "doctor", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, {finding["part"]: finding for finding in json.loads(done.stdout)}


async def test_a_service_without_workers_names_what_to_start(settings, resources):
    await run(
        resources,
        "INSERT INTO circuit_breakers (scope, state, error_type, error_code)"
        " VALUES ('plaid', 'open', 'INVALID_INPUT', 'INVALID_API_KEYS')",
    )
    await add_item(resources, "needs_reauth", "ITEM_LOGIN_REQUIRED", "NULL")
    await add_item(resources, "active", None, "now() - interval '5 minutes'")
    await run(
        resources,
        "INSERT INTO audit_outbox (event_id, event_type, occurred_at, actor, message, context)"
        " VALUES (gen_random_uuid(), 'config:settings:changed', now() - interval '1 hour', 'a', 'm', '{}')",
    )
    code, found = doctor()
    assert code == 1
    assert {part for part, one in found.items() if one["state"] == State.OK} == {
        "settings",
        "keys",
        "database",
        "redis",
        "migrations",
        "queues",
        "clock",
    }
    queues = "sync.webhook,maintenance,sync.replay,sync.scheduled,sync.backfill"
    assert found["workers"]["commands"] == [f"celery -A worker worker -Q {queues}", "celery -A worker worker -Q audit"]
    assert found["beat"]["commands"] == ["celery -A worker beat"]
    assert found["schedule"]["said"].startswith("1 Items are due and not dispatched")
    assert found["audit"]["commands"] == ["celery -A worker worker -Q audit"]
    assert found["breakers"]["said"] == "open: plaid (INVALID_API_KEYS)"
    assert found["Items"]["state"] == State.ATTENTION
    assert found["Items"]["said"] == "failing: ITEM_LOGIN_REQUIRED 1 (1 wait for somebody)"
    assert found["Plaid"]["state"] == State.WRONG
    assert "does not answer" in found["Plaid"]["said"]


async def test_a_healthy_service_is_told_so(settings, resources, monkeypatch, tmp_path):
    await dispatch_due(resources)
    with open_supervisor() as supervisor:
        simulator = tmp_path / "simulator.log"
        supervisor.start("simulator", [sys.executable, "-m", "simulator", "--port", "0"], log=simulator)
        supervisor.wait_ready("simulator", lambda: "listening" in simulator.read_text())
        address = next(word for word in simulator.read_text().split() if word.startswith("http://"))
        monkeypatch.setenv("PLAID_BASE_URL", address)
        log = tmp_path / "worker.log"
        supervisor.start("worker", [*CELERY, "-Q", QUEUES], log=log)
        supervisor.wait_ready("worker", lambda: "ready" in log.read_text())
        code, found = doctor()
    assert {part: one for part, one in found.items() if one["state"] != State.OK} == {}
    assert code == 0


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_wrong_password_is_told_where_it_is_wrong(settings, monkeypatch, name):
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "0.5")
    monkeypatch.setenv(name, re.sub(r":[^:@/]+@", ":hunter2@", os.environ[name]))
    code, found = doctor()
    part = "database" if name == "DATABASE_URL" else "redis"
    assert (code, found[part]["state"]) == (1, State.WRONG)
    assert found[part]["commands"]
    assert "hunter2" not in str(found)
    other = "redis" if part == "database" else "database"
    assert found[other]["state"] == State.OK


def test_a_broker_that_is_away_has_a_line_of_its_own(settings, monkeypatch):
    port = free_port()
    monkeypatch.setenv("BROKER_URL", f"amqp://manna:hunter2@127.0.0.1:{port}//")
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "0.5")
    code, found = doctor()
    assert (code, found["broker"]["state"]) == (1, State.WRONG)
    assert found["broker"]["said"].startswith(f"RabbitMQ at amqp://127.0.0.1:{port}// is not reachable")
    assert "hunter2" not in str(found)


async def test_a_stale_dispatch_is_beat_s_fault_or_its_worker_s(resources, settings):
    await resources.redis.set(TICKED_KEY, int(time.time()) - 600)
    found = {finding.part: finding async for finding in diagnose(load_settings())}
    assert re.fullmatch(r"the last dispatch was \d+ s ago, and no beat leads", found["beat"].said)
    assert found["beat"].commands == ("celery -A worker beat",)
    await resources.redis.set(BEAT_LEADER_KEY, "host-1:4711:ab12")
    found = {finding.part: finding async for finding in diagnose(load_settings())}
    assert found["beat"].said.endswith("though beat ticks (process 4711 on host-1)")
    assert found["beat"].commands == ("celery -A worker worker -Q maintenance",)


async def test_items_that_plaid_announces_nothing_for_are_told(resources, settings, monkeypatch):
    await add_item(resources, "active", None, "NULL")
    found = {finding.part: finding async for finding in diagnose(load_settings())}
    assert found["webhooks"].state is State.ATTENTION
    assert found["webhooks"].said.startswith("PUBLIC_URL is not set")
    monkeypatch.setenv("PUBLIC_URL", "https://manna.example/")
    found = {finding.part: finding async for finding in diagnose(load_settings())}
    assert found["webhooks"].state is State.ATTENTION
    assert found["webhooks"].said.endswith("those of 1 Items to https://manna.example/webhooks/plaid")
    assert found["webhooks"].commands == ("manna items register-webhooks --dry-run",)
    await run(resources, "UPDATE plaid_items SET webhook_url = 'https://manna.example/webhooks/plaid'")
    found = {finding.part: finding async for finding in diagnose(load_settings())}
    assert "https://manna.example/webhooks/plaid" in found["webhooks"].said
    assert found["webhooks"].commands == ("curl -sS https://manna.example/health/live",)


def test_each_command_that_comes_next_is_one_that_there_is(settings):
    """Every `manna …` that the doctor can name is asked for its help, every queue is one that there is."""
    source = (ROOT / "core" / "diagnosis.py").read_text()
    named = {tuple(found.split()) for found in re.findall(r"\"(manna [a-z -]+?)(?: --|\")", source)}
    assert len(named) >= 3
    for words in named:
        asked = [sys.executable, "-m", "cli", *words[1:], "--help"]
        done = subprocess.run(asked, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, words
        assert "Usage" in done.stdout


def test_a_wrong_setting_is_the_only_finding(monkeypatch):
    monkeypatch.setenv("SYNC_PAGE_SIZE", "many")
    code, found = doctor()
    assert code == 1
    assert list(found) == ["settings"]
    assert found["settings"]["said"].startswith("SYNC_PAGE_SIZE ")


def test_what_is_away_hides_nothing_else(monkeypatch):
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/manna")
    monkeypatch.delenv("MANNA_ENCRYPTION_KEY")
    code, found = doctor()
    assert code == 1
    assert found["database"]["state"] == State.WRONG
    assert found["keys"]["commands"] == ["manna keys generate"]
    assert found["redis"]["state"] == State.OK
    assert "migrations" not in found


async def test_an_old_schema_names_the_migration(resources, settings):
    await run(resources, "UPDATE alembic_version SET version_num = '20250901_0000'")
    found = {finding.part: finding async for finding in diagnose(load_settings())}
    assert found["migrations"].commands == ("alembic upgrade head",)
    assert "schedule" not in found


def test_a_person_gets_whole_lines_to_copy(settings):
    environment = {**os.environ, "COLUMNS": "60"}
    command = [sys.executable, "-m", "cli", "doctor"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    _, following = shown.stdout.split("Next:\n")
    queues = "sync.webhook,maintenance,sync.replay,sync.scheduled,sync.backfill"
    assert following.splitlines()[:3] == [
        f"  celery -A worker worker -Q {queues}",
        "  celery -A worker worker -Q audit",
        "  celery -A worker beat",
    ]


def test_a_clock_is_only_blamed_for_what_is_certain():
    now = time.time()
    assert _skew(now + 1, now, now + 2) == 0
    assert _skew(now + 9, now, now + 2) == pytest.approx(7)
    assert _skew(now - 9, now, now + 2) == pytest.approx(-9)


async def run(resources, statement):
    async with resources.database.connection() as connection:
        await connection.execute(text(statement))


async def add_item(resources, status, code, at):
    new = NewItem("u", str(code), "access-sandbox-1")
    (item_id,) = await register_items(resources.database, [new], "operator:test")
    quoted = "NULL" if code is None else f"'{code}'"
    values = f"status = '{status}', error_code = {quoted}, next_sync_at = {at}"
    await run(resources, f"UPDATE plaid_items SET {values} WHERE id = '{item_id}'")
