"""What a process counts, and where it is served."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import generate_latest
from redis.asyncio import Redis
from sqlalchemy import text

from core.audit.counting import ALERTS, ALERTS_UNDELIVERED, CHECKPOINTS_SIGNED, CONTEXT_DROPPED, SEALED, count
from core.broker.messages import SyncItem
from core.encryption import EncryptionKeyProvider, Keyring, current_keyring, install_keyring
from core.errors import OperatorMustActError, RestartPaginationError, RetryLaterError
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.plaid.limits import Budget, Limits, Priority, Scope
from core.sync.due import claim_due
from core.telemetry.metrics import exposed, word
from devstack.places import free_port
from devstack.processes import open_supervisor
from scripts.metrics_reference import PAGE, names, page
from tasks.sync_item import sync_one
from tests.conftest import ROOT
from tests.integration.plaid_script import PlaidScript, transaction
from tests.integration.plaid_script import page as plaid_page

CELERY = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle"]


async def test_each_sync_is_counted_by_how_it_ended(metrics, read, resources):
    (item_id,) = await register_items(resources.database, [NewItem("u", "i", "access-sandbox-1")], "operator:test")
    script = PlaidScript(
        plaid_page([transaction("a"), transaction("b")], has_more=True),
        plaid_page(removed=["b"], next_cursor="c2"),
        OperatorMustActError("INVALID_FIELD", error_type="INVALID_INPUT"),
    )
    own = replace(resources, plaid=script)
    for _ in range(2):
        await sync_one(own, item_id, SyncTrigger.WEBHOOK)
    async with resources.lease(item_id):
        await sync_one(own, item_id, SyncTrigger.SCHEDULED)
    own = replace(resources, plaid=None)
    with pytest.raises(AttributeError):
        await sync_one(own, item_id, SyncTrigger.MANUAL)

    found = read(generate_latest(exposed(metrics)).decode())
    syncs = {key[1:]: value for key, value in found.items() if key[0] == "manna_syncs_total"}
    assert syncs == {
        ("error_code=", "outcome=succeeded", "trigger=webhook"): 1,
        ("error_code=INVALID_FIELD", "outcome=failed", "trigger=webhook"): 1,
        ("error_code=LOCK_NOT_FREE", "outcome=skipped", "trigger=scheduled"): 1,
        ("error_code=AttributeError", "outcome=crashed", "trigger=manual"): 1,
    }
    assert found["manna_sync_pages_total",] == 2
    changes = {change: found["manna_sync_changes_total", f"change={change}"] for change in ("added", "removed")}
    assert changes == {"added": 2, "removed": 1}
    assert found["manna_sync_duration_seconds_count", "outcome=succeeded", "trigger=webhook"] == 1


class Overtaken:
    """Plaid, and a rival that commits while it answers."""

    def __init__(self, resources, item_id):
        self._resources = resources
        self._item_id = item_id

    async def transactions_sync(self, _token, _cursor, _again=None):
        async with self._resources.database.connection() as connection:
            move = text("UPDATE plaid_items SET version = version + 1 WHERE id = :id")
            await connection.execute(move, {"id": self._item_id})
        return plaid_page([transaction("a")])


async def test_restarts_and_version_conflicts_are_counted(metrics, read, resources):
    (item_id,) = await register_items(resources.database, [NewItem("u", "i", "access-sandbox-1")], "operator:test")
    changed = RestartPaginationError("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
    await sync_one(
        replace(resources, plaid=PlaidScript(changed, changed, plaid_page())), item_id, SyncTrigger.SCHEDULED
    )
    await sync_one(replace(resources, plaid=Overtaken(resources, item_id)), item_id, SyncTrigger.REPLAY)
    found = read(generate_latest(exposed(metrics)).decode())
    assert found["manna_sync_restarts_total",] == 2
    assert found["manna_syncs_total", "error_code=VERSION_CONFLICT", "outcome=skipped", "trigger=replay"] == 1


async def test_the_key_that_seals_is_told_and_the_one_before_it_no_more(metrics, read, resources):
    old = current_keyring()
    read(generate_latest(exposed(metrics)).decode())
    install_keyring(Keyring.of(os.urandom(32)))
    new = current_keyring()
    found = read(generate_latest(exposed(metrics)).decode())
    install_keyring(old)
    assert found["manna_encryption_key_info", f"key_id={new.primary.key_id}"] == 1
    assert found["manna_encryption_key_info", f"key_id={old.primary.key_id}"] == 0


async def test_the_budgets_figures_move_with_its_calls(metrics, read, resources):
    def told(budget):
        metrics.follow(budget)
        return read(generate_latest(exposed(metrics)).decode())

    # A window of half a second: the second call for the Item waits for the next one.
    patient = Budget(resources.redis, Limits(per_item=1, per_client=1000, window_seconds=0.5))
    await patient.spend("i1", Priority.URGENT)
    second = asyncio.ensure_future(patient.spend("i1", Priority.URGENT))
    await asyncio.sleep(0)
    assert told(patient)["manna_plaid_budget_waiting",] == 1
    await second
    await patient.refused("i1", Scope.CLIENT)
    await patient.spend("i2", Priority.URGENT)
    found = told(patient)
    await patient.close()
    assert found["manna_plaid_budget_waiting",] == 0
    assert found["manna_plaid_calls_waited_total",] >= 1
    assert found["manna_plaid_calls_refused_total",] == 1
    assert found["manna_plaid_budget_adapted_share",] < 1
    assert found["manna_plaid_budget_remaining_share",] < 1
    assert found["manna_plaid_budget_alone",] == 0


async def test_a_budget_without_redis_says_so_and_counts_what_it_turns_away(metrics, read, settings):
    away = Redis(port=free_port())
    budget = Budget(away, Limits(per_item=1, per_client=100_000), patience_seconds=0)
    await budget.spend("i1", Priority.URGENT)
    with pytest.raises(RetryLaterError):
        await budget.spend("i1", Priority.URGENT)
    metrics.follow(budget)
    found = read(generate_latest(exposed(metrics)).decode())
    await budget.close()
    await away.aclose()
    assert found["manna_plaid_budget_alone",] == 1
    assert found["manna_plaid_calls_postponed_total",] == 1


async def test_the_budget_is_shown_as_it_is_at_the_scrape(metrics, read, resources):
    metrics.follow(resources.budget)
    await resources.budget.spend("i1", Priority.URGENT)
    for _ in range(2):
        found = read(generate_latest(exposed(metrics)).decode())
        assert found["manna_plaid_calls_total",] == 1
        assert found["manna_plaid_budget_limit",] == 1_000_000


def test_the_audit_logs_counts_arrive(metrics, read):
    count(SEALED, 7)
    count(ALERTS, rule="burst", severity="high")
    for name in (CHECKPOINTS_SIGNED, CONTEXT_DROPPED, ALERTS_UNDELIVERED):
        count(name, 2)
    found = read(generate_latest(exposed(metrics)).decode())
    assert found["manna_audit_events_sealed_total",] == 7
    assert found["manna_audit_alerts_total", "rule=burst", "severity=high"] == 1
    assert found["manna_audit_checkpoints_signed_total",] == 2
    assert found["manna_audit_context_fields_dropped_total",] == 2
    assert found["manna_audit_alerts_undelivered_total",] == 2


def test_what_is_no_code_becomes_no_time_series():
    assert [word(one) for one in ("ITEM_LOGIN_REQUIRED", None, "access-sandbox-1", "x" * 65)] == [
        "ITEM_LOGIN_REQUIRED",
        "",
        "OTHER",
        "OTHER",
    ]


def test_every_metric_is_asked_for_by_a_test():
    asked = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names()}
    assert sorted(name for name in known if not re.search(rf'\["{name}(_count)?"', asked)) == []


def test_the_reference_page_says_what_the_code_says():
    assert PAGE.read_text() == page(), "run python -m scripts.metrics_reference"


@pytest.mark.parametrize("pool", ["threads", "prefork"])
async def test_a_worker_serves_its_counts(resources, monkeypatch, tmp_path, read, pool):
    many = [NewItem("u", f"i{number}", "access-sandbox-1") for number in range(4)]
    item_ids = await register_items(resources.database, many, "operator:test")
    await claim_due(resources.database)
    port, counts = free_port(), tmp_path / "counts"
    counts.mkdir()
    # Sealed under a key that the worker does not have, each sync fails at once and asks nobody.
    monkeypatch.setenv("MANNA_ENCRYPTION_KEY", EncryptionKeyProvider.generate_key())
    monkeypatch.setenv("METRICS_PORT", str(port))
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(counts)} if pool == "prefork" else dict(os.environ)
    for item_id in item_ids:
        await resources.publisher.publish(SyncItem(item_id, SyncTrigger.MANUAL))

    def page():
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def told():
        # A child's file that is being made cannot be read yet: as for Prometheus, the next scrape counts.
        try:
            return read(page())
        except HTTPError:
            return {}

    failed = ("manna_syncs_total", "error_code=DECRYPTION_FAILED", "outcome=failed", "trigger=manual")
    with open_supervisor() as supervisor:
        log = tmp_path / "worker.log"
        argv = [*CELERY, "-Q", "sync.webhook", "-P", pool, "-c", "2"]
        supervisor.start("worker", argv, log=log, env=environment)
        supervisor.wait_ready("worker", lambda: "ready" in log.read_text())
        supervisor.wait_ready("worker", lambda: told().get(failed) == 4)
        assert "access-sandbox" not in page()
        assert not any(str(item_id) in page() for item_id in item_ids)


def test_a_port_that_is_taken_is_one_line(settings, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("METRICS_PORT", str(taken.getsockname()[1]))
        refused = subprocess.run([*CELERY, "-Q", "audit"], capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert "manna: METRICS_PORT cannot be used, 127.0.0.1:" in refused.stderr.splitlines()[-1]
