"""One trace from the webhook to the commit, told to a real collector; and nothing of it while it is off."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

from core.errors import ConfigurationError, OperatorMustActError
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.settings import load_settings
from core.telemetry import tracing
from devstack.places import answers, free_port
from devstack.processes import open_supervisor
from tasks.sync_item import sync_one
from tests.conftest import ROOT
from tests.integration.plaid_script import PlaidScript, page, transaction
from tests.telemetry.collector import open_collector

WORKER = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle"]
LINE = ["POST /webhooks/plaid", "send sync.item", "process sync.item", "sync", "fetch page", "commit"]


@pytest.fixture
def collector():
    with open_collector() as opened:
        yield opened


@pytest.fixture
def traced(collector, monkeypatch):
    """This process traces to the collector; its spans are there once `tracing.close_tracing` has returned."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    tracing.install_tracing(load_settings(otel_traces_exporter="otlp"), "manna-test")
    yield collector
    tracing.close_tracing()


@pytest.fixture
async def item_id(resources):
    (registered,) = await register_items(resources.database, [NewItem("u", "i", "access-sandbox-1")], "operator:test")
    return registered


def with_plaid(resources, *given):
    return replace(resources, plaid=PlaidScript(*given))


def one(spans, name):
    (found,) = [span for span in spans if span.name == name]
    return found


@pytest.mark.timeout(120)
def test_a_webhook_and_its_commit_are_one_trace_over_two_processes_and_a_queue(
    collector, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    port = free_port()
    with open_supervisor() as supervisor:

        def start(name, argv, ready):
            log = tmp_path / f"{name}.log"
            supervisor.start(name, argv, log=log)
            supervisor.wait_ready(name, lambda: ready(log.read_text()))
            return log

        said = start("simulator", [sys.executable, "-m", "simulator"], lambda text: "listening" in text).read_text()
        bank = re.search(r"http://\S+", said)[0]
        monkeypatch.setenv("PLAID_BASE_URL", bank)
        start("web", [sys.executable, "-m", "cli", "web", "--port", str(port)], lambda _: answers(port))
        queues = "sync.webhook,sync.scheduled,sync.backfill"
        log = start("worker", [*WORKER, "-Q", queues], lambda text: "ready" in text)
        told = {"count": 1, "transactions": 3, "webhook": f"http://127.0.0.1:{port}/webhooks/plaid"}
        (item,) = httpx.post(f"{bank}/control/items", json=told).json()["items"]
        add = [sys.executable, "-m", "cli", "items", "add", "--user", "u", "--item-id", item["item_id"]]
        subprocess.run(add, input=item["access_token"], cwd=ROOT, text=True, check=True, capture_output=True)
        sent = {"item_id": item["item_id"], "webhook_code": "SYNC_UPDATES_AVAILABLE"}
        httpx.post(f"{bank}/control/webhooks/send", json=sent).raise_for_status()
        spans = collector.wait_for(lambda found: {span.name for span in found} >= set(LINE))

    webhook = one(spans, LINE[0])
    chain = {span.name: span for span in spans if span.trace == webhook.trace}
    assert set(chain) == set(LINE)
    assert webhook.parent == ""
    parents = {name: next(span.name for span in chain.values() if span.id == chain[name].parent) for name in LINE[1:]}
    assert parents == {
        "send sync.item": "POST /webhooks/plaid",
        "process sync.item": "send sync.item",
        "sync": "process sync.item",
        "fetch page": "sync",
        "commit": "sync",
    }
    assert [chain[name].kind for name in LINE] == ["SERVER", "PRODUCER", "CONSUMER", "INTERNAL", "CLIENT", "INTERNAL"]
    assert {webhook.service, chain["sync"].service} == {"manna-web", "manna-worker"}
    assert chain["sync"].facts["manna.outcome"] == "succeeded"
    assert chain["send sync.item"].facts["messaging.destination.name"] == "sync.webhook"
    assert chain["commit"].facts["manna.added"] >= 1
    # What is in no log line is in no span either.
    told = b"".join(collector.bodies)
    assert item["access_token"].encode() not in told
    assert settings.plaid_client_id.encode() not in told
    # Celery's banner is no line of the log.
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (done,) = [line for line in lines if line["event"] == "sync_done"]
    assert (done["trace_id"], done["item_id"]) == (webhook.trace, chain["sync"].facts["manna.item_id"])
    assert done["run_id"] == chain["sync"].facts["manna.run_id"]
    assert done["task_id"] == chain["process sync.item"].facts["messaging.message.id"]


async def test_webhooks_that_share_a_sync_are_linked_to_it(traced, resources, item_id):
    traces = []
    for _ in range(3):
        with tracing.span("webhook"):
            traces.append(tracing.current())
    # Two in one commit of the inbox, and one that finds their message waiting.
    await resources.publisher.publish_once(item_id, SyncTrigger.WEBHOOK, traces[:2])
    await resources.publisher.publish_once(item_id, SyncTrigger.WEBHOOK, traces[2:])
    await sync_one(with_plaid(resources, page([transaction("a")])), item_id, SyncTrigger.WEBHOOK)
    tracing.close_tracing()

    ids = [tuple(told.split("-")[1:3]) for told in traces]
    sent, synced = one(traced.spans, "send sync.item"), one(traced.spans, "sync")
    assert (sent.trace, sent.parent) == ids[0]
    assert sent.links == {ids[1]}
    assert synced.links == {ids[2]}


async def test_a_webhook_during_a_sync_is_linked_to_the_one_more_sync_that_it_leads_to(traced, resources, item_id):
    with tracing.span("webhook"):
        told = tracing.current()
        async with resources.lease(item_id):
            await sync_one(resources, item_id, SyncTrigger.WEBHOOK)
    await sync_one(with_plaid(resources, page()), item_id, SyncTrigger.WEBHOOK)
    tracing.close_tracing()

    skipped, synced = [span for span in traced.spans if span.name == "sync"]
    assert skipped.facts["manna.error_code"] == "LOCK_NOT_FREE"
    assert skipped.trace == told.split("-")[1]
    assert synced.links == {(skipped.trace, skipped.id)}


async def test_a_failed_sync_tells_its_code_and_never_an_errors_text(traced, resources, item_id):
    await sync_one(with_plaid(resources, OperatorMustActError("INVALID_FIELD")), item_id, SyncTrigger.MANUAL)
    with pytest.raises(ValueError, match="access-sandbox-canary"), tracing.span("other"):
        raise ValueError("access-sandbox-canary")
    tracing.close_tracing()

    assert one(traced.spans, "sync").error == "INVALID_FIELD"
    assert one(traced.spans, "fetch page").error == "OperatorMustActError"
    assert one(traced.spans, "other").error == "ValueError"
    assert b"canary" not in b"".join(traced.bodies)
    assert not any(span.events for span in traced.spans)


def test_a_message_that_nobody_traced_begins_no_trace(resources):
    assert tracing.span("anything") is tracing.OFF
    assert tracing.current() is None


OFF = """
import sys
from core.telemetry import tracing
from worker.app import app
import web.app
tracing.install_tracing(__import__("core.settings").settings.load_settings(), "manna")
# redis-py loads the API and the metrics by itself, where they are installed.
ours = ("core.telemetry.opentelemetry_spans", "opentelemetry.exporter", "opentelemetry.sdk.trace")
print([name for name in sys.modules if name.startswith(ours)], tracing.is_traced())
"""


def test_while_it_is_off_nothing_of_opentelemetry_is_imported(settings):
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[] False\n"


def test_without_the_extra_it_is_one_line(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "core.telemetry.opentelemetry_spans", None)
    with pytest.raises(ConfigurationError, match=r"OTEL_TRACES_EXPORTER is otlp, and .* is not installed"):
        tracing.install_tracing(load_settings(otel_traces_exporter="otlp"), "manna")


def test_a_collector_that_is_away_keeps_no_process_from_its_end(settings, tmp_path):
    away = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    given = {**os.environ, **away, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    script = "from core.telemetry import tracing; from core.settings import load_settings\n"
    script += (
        "tracing.install_tracing(load_settings(), 'manna')\nwith tracing.span('one'): pass\ntracing.close_tracing()"
    )
    done = subprocess.run([sys.executable, "-c", script], env=given, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 0
