"""What a process counts, and where it is served."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.request import urlopen

import pytest
from prometheus_client import generate_latest

from core.audit.counting import ALERTS, SEALED, count
from core.broker.messages import SyncItem
from core.encryption import EncryptionKeyProvider
from core.errors import OperatorMustActError
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.plaid.limits import Priority
from core.sync.due import claim_due
from core.telemetry.metrics import exposed, word
from devstack.places import free_port
from devstack.processes import open_supervisor
from scripts.metrics_reference import PAGE, page
from tasks.sync_item import sync_one
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
    found = read(generate_latest(exposed(metrics)).decode())
    assert found["manna_audit_events_sealed_total",] == 7
    assert found["manna_audit_alerts_total", "rule=burst", "severity=high"] == 1


def test_what_is_no_code_becomes_no_time_series():
    assert [word(one) for one in ("ITEM_LOGIN_REQUIRED", None, "access-sandbox-1", "x" * 65)] == [
        "ITEM_LOGIN_REQUIRED",
        "",
        "OTHER",
        "OTHER",
    ]


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

    failed = ("manna_syncs_total", "error_code=DECRYPTION_FAILED", "outcome=failed", "trigger=manual")
    with open_supervisor() as supervisor:
        log = tmp_path / "worker.log"
        argv = [*CELERY, "-Q", "sync.webhook", "-P", pool, "-c", "2"]
        supervisor.start("worker", argv, log=log, env=environment)
        supervisor.wait_ready("worker", lambda: "ready" in log.read_text())
        supervisor.wait_ready("worker", lambda: read(page()).get(failed) == 4)
        assert "access-sandbox" not in page()
        assert not any(str(item_id) in page() for item_id in item_ids)


def test_a_port_that_is_taken_is_one_line(settings, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("METRICS_PORT", str(taken.getsockname()[1]))
        refused = subprocess.run([*CELERY, "-Q", "audit"], capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert "manna: METRICS_PORT cannot be used, 127.0.0.1:" in refused.stderr.splitlines()[-1]
