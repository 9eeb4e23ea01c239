"""What leaves the log: OCSF that holds against OCSF's own schema, and lines that verify elsewhere."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.audit import _tail
from cli.main import app
from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.chain import Content, SealedEvent
from core.audit.export import ExportFormat, as_lines
from core.audit.ocsf import to_ocsf
from core.identity import new_id
from tests.audit.chain import ask, execute, seal
from tests.conftest import ROOT

# Taken from github.com/ocsf/ocsf-schema at tag 1.3.0: the classes and objects that are exported, inheritance resolved.
SCHEMA = json.loads((Path(__file__).parent / "ocsf-1.3.0.json").read_text())
SCALARS = {"integer_t": int, "long_t": int, "timestamp_t": int, "boolean_t": bool}
FULL = AuditContext(
    request_id="r1", ip_address="192.0.2.1", method="GET", route="/api/v1/items", status=403, subject="user:eve",
    run_id="run", error_code="CODE", reason="why", role="manna_writer", rule="denied", severity="high", count=3,
)  # fmt: skip


def violations(value, spec, where):
    """Yield every way in which an object breaks its class or object of the schema."""
    attributes = spec["attributes"]
    for name, rule in attributes.items():
        if rule["requirement"] == "required" and name not in value:
            yield f"{where}.{name} is required"
    at_least_one = spec["constraints"].get("at_least_one")
    if at_least_one and not set(at_least_one) & set(value):
        yield f"{where} needs one of {at_least_one}"
    for name, part in value.items():
        if name not in attributes:
            yield f"{where}.{name} is unknown"
        else:
            yield from in_attribute(part, attributes[name], f"{where}.{name}")


def in_attribute(value, rule, where):
    if rule.get("is_array") and not isinstance(value, list):
        yield f"{where} must be a list"
        return
    for part in value if rule.get("is_array") else [value]:
        if rule["type"] in SCHEMA["objects"]:
            yield from violations(part, SCHEMA["objects"][rule["type"]], where)
        elif rule["type"] != "object":
            if type(part) is not SCALARS.get(rule["type"], str):
                yield f"{where} is no {rule['type']}"
            if "enum" in rule and part not in rule["enum"] and not where.endswith(("category_uid", "class_uid")):
                yield f"{where} is {part}, not one of {rule['enum']}"


def sealed(kind, context):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    content = Content(new_id(), kind.value, at, "user:eve", "item:1", "A test", context.as_json())
    return SealedEvent(1, at, content, bytes(32), bytes(32))


@pytest.mark.parametrize("context", [AuditContext(), FULL], ids=["bare", "full"])
@pytest.mark.parametrize("kind", AuditEventType, ids=lambda kind: kind.value)
def test_every_type_is_a_valid_object_of_its_ocsf_class(kind, context):
    out = json.loads(as_lines([sealed(kind, context)], ExportFormat.OCSF))
    spec = SCHEMA["classes"][str(out["class_uid"])]
    # OCSF's own base has 0 for these; its server fills them in from the class.
    assert out["category_uid"] == spec["category_uid"]
    assert out["type_uid"] == out["class_uid"] * 100 + out["activity_id"]
    body = {name: value for name, value in out.items() if name not in {"type_uid", "unmapped"}}
    assert list(violations({**body, "type_uid": 0}, spec, spec["name"])) == []


def test_the_check_itself_finds_what_is_wrong():
    out = to_ocsf(sealed(AuditEventType.LOGIN_FAILED, FULL))
    spec = SCHEMA["classes"]["3002"]
    del out["user"], out["service"]
    out |= {"type_uid": 0, "severity_id": 44, "time": "now", "planet": "x"}
    found = " ".join(violations(out, spec, "authentication"))
    for problem in ("user is required", "needs one of", "severity_id is 44", "time is no", "planet is unknown"):
        assert problem in found


def test_authentication_denial_and_alert_are_what_a_siem_expects():
    failed = to_ocsf(sealed(AuditEventType.LOGIN_FAILED, FULL))
    assert (failed["class_uid"], failed["activity_id"], failed["status_id"]) == (3002, 1, 2)
    assert failed["user"] == {"name": "user:eve"}
    denied = to_ocsf(sealed(AuditEventType.ACCESS_DENIED, FULL))
    assert (denied["class_uid"], denied["api"]["operation"], denied["api"]["response"]) == (
        6003, "GET /api/v1/items", {"code": 403},
    )  # fmt: skip
    alert = to_ocsf(sealed(AuditEventType.ALERT_RAISED, FULL))
    assert (alert["class_uid"], alert["severity_id"]) == (2004, 4)


@pytest.fixture
def manna(monkeypatch):
    """The command line, in a thread since it runs a loop of its own; the logs stay those of the tests."""
    monkeypatch.setattr("cli.session.configure_logs", lambda *_: None)

    async def invoke(*arguments, code=0):
        done = await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments])
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else done.output

    return invoke


async def test_what_was_exported_verifies_without_manna_sync_and_not_after_a_change(resources, manna, tmp_path):
    await seal(resources, 4, 3)
    events, keys = tmp_path / "events.ndjson", (await manna("public-key")).strip()
    await manna("export", "--format", "ndjson", "--out", str(events))
    assert "2 checkpoints exported" in await manna("checkpoints", "--directory", str(tmp_path))
    command = [sys.executable, "scripts/verify_audit.py", str(events), str(tmp_path / "checkpoints.ndjson")]

    def verifier():
        return subprocess.run([*command, "--public-key", keys], cwd=ROOT, capture_output=True, text=True, check=False)

    whole = verifier()
    assert (whole.returncode, whole.stdout) == (
        0, "7 events, every link holds; 2 signatures hold, through event 7\n",
    )  # fmt: skip
    events.write_text(events.read_text().replace('"item:2"', '"item:3"'))
    changed = verifier()
    assert (changed.returncode, changed.stdout) == (1, "event 3 is not what was sealed\n")
    ((context,),) = await ask(resources, "SELECT context FROM audit_outbox")
    assert context == {"format": "ndjson", "count": 7, "filter": "everything"}


def test_a_public_key_may_begin_with_a_dash(tmp_path):
    (tmp_path / "empty").touch()
    command = [
        sys.executable,
        "scripts/verify_audit.py",
        *[str(tmp_path / "empty")] * 2,
        "--public-key",
        "-" + "A" * 42 + "=",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("events", "key"), [(None, "A" * 43 + "="), (b"\xff", "A" * 43 + "="), (b"{}\n", "A" * 43 + "="), (b"", "no key")]
)
def test_what_the_verifier_cannot_read_proves_nothing_and_is_one_line(tmp_path, events, key):
    given, checkpoints = tmp_path / "events.ndjson", tmp_path / "checkpoints.ndjson"
    checkpoints.touch()
    if events is not None:
        given.write_bytes(events)
    command = [sys.executable, "scripts/verify_audit.py", str(given), str(checkpoints), "--public-key", key]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (2, 1, "")


def test_the_independent_verifier_imports_nothing_of_manna_sync():
    text = (ROOT / "scripts" / "verify_audit.py").read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported == {
        "argparse", "base64", "collections", "cryptography", "datetime", "hashlib", "json", "pathlib", "sys", "typing",
    }  # fmt: skip


async def test_verify_tells_what_holds_and_ends_with_1_when_something_does_not(resources, manna, tmp_path):
    await seal(resources, 3)
    assert await manna("verify") == "3 events, every link holds, 1 signatures hold, 0 events wait for the next\n"
    await manna("checkpoints", "--directory", str(tmp_path))
    held = json.loads(await manna("verify", "--checkpoints", str(tmp_path / "checkpoints.ndjson"), "--json"))
    assert (held["events"], held["checkpoints"], held["signed_through"], held["problem"]) == (3, 1, 3, None)
    await execute(
        resources,
        "ALTER TABLE audit_events DISABLE TRIGGER USER",
        "UPDATE audit_events SET message = 'B' WHERE seq = 2",
    )
    assert "event 2 is not what was sealed" in await manna("verify", code=1)
    kinds = [kind for (kind,) in await ask(resources, "SELECT event_type FROM audit_outbox ORDER BY id")]
    assert kinds == ["audit:chain:verified", "audit:chain:verified", "audit:chain:broken"]


async def test_an_export_can_be_narrowed_to_types_and_times(resources, manna):
    await seal(resources, 2)
    await log_audit_event(AuditEventType.LOGIN_FAILED, "A log-in was refused")
    await seal(resources, 1)
    exported = await manna("export", "--format", "ocsf", "--type", "auth:login:failed", "--since", "1h")
    lines = exported.splitlines()
    assert [json.loads(line)["metadata"]["event_code"] for line in lines] == ["auth:login:failed"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert await manna("export", "--format", "ndjson", "--since", tomorrow) == ""
    assert "accepted is 2026-01-31" in " ".join(
        (await manna("export", "--format", "ocsf", "--since", "soon", code=2)).split()
    )


async def test_tail_shows_the_newest_events_oldest_first(resources, manna):
    await seal(resources, 5)
    lines = (await manna("tail", "-n", "2")).splitlines()
    assert [line.split()[0] for line in lines] == ["4", "5"]
    assert "plaid:item:synced" in lines[0]
    assert "version=3" in lines[0]
    (line,) = (await manna("tail", "-n", "1", "--json", "--type", "plaid:item:synced")).splitlines()
    assert json.loads(line)["seq"] == 5


async def test_tail_follows_with_what_is_sealed_from_then_on(resources, monkeypatch):
    await seal(resources, 2)
    shown, meanwhile = [], []

    class EnoughError(Exception):
        pass

    def show(events, *, as_json):
        shown.extend(event.seq for event in events)
        if shown == [1, 2] and not meanwhile:
            meanwhile.append(asyncio.create_task(seal(resources, 2)))
        if len(shown) == 4:
            raise EnoughError

    monkeypatch.setattr("cli.audit._print_events", show)
    monkeypatch.setattr("cli.audit.POLL_SECONDS", 0)
    with pytest.raises(EnoughError):
        await _tail(resources, 2, None, follow=True, as_json=False)
    await meanwhile[0]
    assert shown == [1, 2, 3, 4]
