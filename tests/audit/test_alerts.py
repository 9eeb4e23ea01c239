"""Rules over the log: when one is met, who is told, and that telling never stops the sealing."""

import asyncio
import hashlib
import hmac
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import structlog

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.alerts import evaluation
from core.audit.alerts.delivery import SIGNATURE, deliver
from core.audit.alerts.evaluation import Alert, evaluate
from core.audit.alerts.rules import Rule, Severity, load_rules
from core.audit.alerts.watch import watch
from core.audit.chain import Content, SealedEvent
from core.audit.consumer import consume
from core.audit.counting import ALERTS, ALERTS_UNDELIVERED, _installed, install_counter
from core.audit.sink import seal_outbox
from core.errors import ConfigurationError
from core.identity import new_id
from tests.audit.chain import ask, execute, write

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILED = AuditEventType.LOGIN_FAILED
BURST = Rule("burst", Severity.HIGH, 3, 60, events=(FAILED,), group_by="ip_address")


def event(seconds, address="192.0.2.1", kind=FAILED, seq=1):
    at = NOON + timedelta(seconds=seconds)
    return SealedEvent(seq, at, Content(new_id(), kind.value, at, "a", None, "m", {"ip_address": address}), b"", b"")


def test_a_burst_from_one_address_raises_one_alert_and_is_quiet_for_its_window():
    alerts = evaluate([BURST], {}, [event(second, seq=second) for second in range(20)])
    assert alerts == [Alert("burst", Severity.HIGH, "192.0.2.1", 3, 60, 2)]
    assert len(evaluate([BURST], {}, [event(second) for second in range(130)])) == 3


def test_slow_failures_and_those_of_many_addresses_raise_none():
    assert evaluate([BURST], {}, [event(30 * number) for number in range(20)]) == []
    assert evaluate([BURST], {}, [event(number, f"192.0.2.{number}") for number in range(50)]) == []
    assert evaluate([BURST], {}, [event(number, kind=AuditEventType.LOGIN_SUCCEEDED) for number in range(9)]) == []


def test_counts_go_on_from_one_look_to_the_next():
    windows = {}
    assert evaluate([BURST], windows, [event(0), event(1)]) == []
    assert len(evaluate([BURST], windows, [event(2)])) == 1


def test_of_too_many_sources_the_busiest_are_kept(monkeypatch):
    monkeypatch.setattr(evaluation, "KEYS_A_RULE", 5)
    windows = {}
    busy = [event(1, "203.0.113.9"), event(2, "203.0.113.9")]
    evaluate([BURST], windows, [*(event(0, f"192.0.2.{number}") for number in range(40)), *busy])
    assert len(windows["burst"]) == 5
    assert len(evaluate([BURST], windows, [event(3, "203.0.113.9")])) == 1


def test_what_is_past_its_window_is_forgotten():
    windows = {}
    evaluate([BURST], windows, [event(0, "192.0.2.1"), event(3600, "192.0.2.2")])
    assert list(windows["burst"]) == ["192.0.2.2"]


def test_the_rules_that_come_along_watch_what_the_guide_asks_for():
    names = {rule.name: rule for rule in load_rules(None)}
    assert AuditEventType.LOGIN_FAILED.value in names["failed-authentication-burst"].types
    assert AuditEventType.ACCESS_DENIED.value in names["denied-access"].types
    assert AuditEventType.TOKEN_DECRYPTED.value in names["unusual-decrypt-volume"].types
    assert AuditEventType.SETTINGS_CHANGED.value in names["configuration-changed"].types
    assert not any(AuditEventType.ALERT_RAISED.value in rule.types for rule in names.values())


GOOD = 'name = "r"\nseverity = "low"\nthreshold = 1\nwindow_seconds = 60\ncategories = ["security"]\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[rule]]\n" + GOOD.replace('"low"', '"loud"'), "Invalid enum value 'loud'"),
        ("[[rule]]\n" + GOOD.replace("threshold = 1", "threshold = 0"), "`int` >= 1"),
        ("[[rule]]\n" + GOOD + "cooldown = 3\n", "unknown field `cooldown`"),
        ("[[rule]]\n" + GOOD + 'group_by = "planet"\n', "rule r groups by 'planet'; accepted are actor, resource"),
        ("[[rule]]\n" + GOOD.replace('["security"]', "[]"), "rule r counts nothing"),
        ("[[rule]]\n" + GOOD + "[[rule]]\n" + GOOD, "two rules are called r"),
        ("[[rule]\n", "AUDIT_ALERT_RULES: "),
    ],
)
def test_a_wrong_rule_file_is_one_line_that_says_what_is_wrong(tmp_path, text, problem):
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_rules(file)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_an_alert_is_recorded_in_the_log_itself_exactly_once(resources):
    rules = (Rule("denied", Severity.MEDIUM, 3, 600, events=(AuditEventType.ACCESS_DENIED,), group_by="actor"),)
    for _ in range(5):
        await log_audit_event(AuditEventType.ACCESS_DENIED, "Refused", actor="user:eve")
    await seal_outbox(resources.database)
    found = await asyncio.gather(*(watch(resources.database, rules) for _ in range(4)))
    assert sum(map(len, found)) == 1
    ((context,),) = await ask(resources, "SELECT context FROM audit_outbox")
    assert context == {
        "rule": "denied", "severity": "medium", "subject": "user:eve", "count": 3, "window_seconds": 600, "last_seq": 3,
    }  # fmt: skip
    await seal_outbox(resources.database)
    assert await watch(resources.database, rules) == []


async def test_what_was_counted_in_one_look_counts_in_the_next(resources):
    rules = (Rule("any", Severity.LOW, 3, 600, events=(FAILED,)),)
    found = []
    for _ in range(3):
        await write(resources, 1, FAILED)
        await seal_outbox(resources.database)
        found.append(await watch(resources.database, rules))
    assert [len(alerts) for alerts in found] == [0, 0, 1]


async def test_a_consumer_that_dies_between_sealing_and_looking_looks_again(resources):
    rules = (Rule("any", Severity.LOW, 2, 600, categories=(FAILED.category,)),)
    await write(resources, 1, FAILED)
    await seal_outbox(resources.database)
    assert await watch(resources.database, rules) == []
    await execute(resources, "UPDATE audit_alert_state SET seq = 0, windows = '{}'")
    await write(resources, 1, FAILED)
    await seal_outbox(resources.database)
    assert [alert.count for alert in await watch(resources.database, rules)] == [2]


@contextmanager
def receiver(status):
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alerts", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ALERT = Alert("burst", Severity.HIGH, "192.0.2.1", 20, 300, 7)


async def test_alerts_go_out_in_one_signed_message(settings, monkeypatch):
    monkeypatch.setenv("AUDIT_ALERT_WEBHOOK_SECRET", "a-shared-secret")
    with receiver(200) as (url, received):
        await deliver(settings.model_copy(update={"audit_alert_webhook_url": url}), [ALERT] * 130)
    ((headers, body),) = received
    stamp, digest = (part.partition("=")[2] for part in headers[SIGNATURE].split(","))
    assert hmac.new(b"a-shared-secret", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest() == digest
    told = json.loads(body)
    assert (len(told["alerts"]), told["omitted"]) == (100, 30)
    assert told["alerts"][0]["rule"] == "burst"


async def test_what_cannot_be_delivered_is_logged_and_counted_and_nothing_else(settings, monkeypatch):
    counted = []
    install_counter(lambda name, amount, **labels: counted.append((name, amount)))
    monkeypatch.setenv("AUDIT_ALERT_WEBHOOK_SECRET", "a-shared-secret")
    with structlog.testing.capture_logs() as logs:
        with receiver(500) as (url, _):
            await deliver(settings.model_copy(update={"audit_alert_webhook_url": url}), [ALERT])
        await deliver(settings.model_copy(update={"audit_alert_webhook_url": url}), [ALERT])
        monkeypatch.delenv("AUDIT_ALERT_WEBHOOK_SECRET")
        await deliver(settings.model_copy(update={"audit_alert_webhook_url": url}), [ALERT])
    _installed.clear()
    assert [line["event"] for line in logs] == ["audit_alert", "audit_alert_undelivered"] * 3
    assert counted == [(ALERTS, 1), (ALERTS_UNDELIVERED, 1)] * 3


async def test_the_consumer_watches_what_it_has_sealed(resources, tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text("[[rule]]\n" + GOOD.replace("security", "authentication"))
    await write(resources, 2, FAILED)
    settings = resources.settings.model_copy(update={"audit_alert_rules": file})
    with structlog.testing.capture_logs() as logs:
        await consume(settings, resources.database)
    assert [line["rule"] for line in logs if line["event"] == "audit_alert"] == ["r"]
    # The record of the alert is sealed as well, and does not wait for somebody else's event.
    assert await ask(resources, "SELECT count(*) FROM audit_outbox") == [(0,)]
    assert await ask(resources, "SELECT count(*) FROM audit_events WHERE event_type = 'audit:alert:raised'") == [(1,)]


async def test_a_wrong_rule_file_does_not_stop_the_sealing(resources, tmp_path):
    await write(resources, 2)
    settings = resources.settings.model_copy(update={"audit_alert_rules": tmp_path / "none.toml"})
    with structlog.testing.capture_logs() as logs:
        await consume(settings, resources.database)
    assert "audit_not_watched" in [line["event"] for line in logs]
    assert await ask(resources, "SELECT count(*) FROM audit_events") == [(2,)]


def test_an_alert_does_not_say_more_than_the_context_may():
    assert set(Alert.__struct_fields__) - {"key"} <= set(AuditContext.__struct_fields__)
