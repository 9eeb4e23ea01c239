"""When a checkpoint is due, what it covers, and how it gets outside."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from sqlalchemy.exc import DBAPIError

from core.audit import checkpoints
from core.audit.checkpoints import EXPORT_FILE, LONGEST_UNSIGNED, export_checkpoints
from core.audit.consumer import consume
from core.audit.signing import load_signing_key
from core.audit.sink import seal_outbox
from core.errors import ConfigurationError
from core.settings import Environment
from tests.audit.chain import ask, execute, seal, sign, verify, write

SPANS = "SELECT first_seq, last_seq FROM audit_checkpoints ORDER BY number"
LAST_MONTH = "UPDATE audit_events SET sealed_at = sealed_at - interval '1 month' WHERE seq <= 2"


async def test_a_stretch_is_signed_once_its_first_event_has_waited_long_enough(resources):
    await write(resources, 3)
    await seal_outbox(resources.database)
    assert timedelta(minutes=1) == LONGEST_UNSIGNED
    assert await sign(resources, timedelta(hours=1)) == 0
    assert await sign(resources, timedelta(0)) == 1
    assert await sign(resources, timedelta(0)) == 0
    assert await ask(resources, SPANS) == [(1, 3)]


async def test_a_full_stretch_is_signed_at_once(resources, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVENTS_A_CHECKPOINT", 4)
    await write(resources, 10)
    await seal_outbox(resources.database)
    assert await sign(resources, timedelta(hours=1)) == 2
    assert await ask(resources, SPANS) == [(1, 4), (5, 8)]
    found = await verify(resources)
    assert (found.checkpoints, found.signed_through, found.problem) == (2, 8, None)


async def test_a_checkpoint_ends_with_its_month(resources):
    await write(resources, 5)
    await seal_outbox(resources.database)
    await execute(
        resources,
        "SELECT ensure_audit_partition(now() - interval '1 month')",
        "ALTER TABLE audit_events DISABLE TRIGGER USER",
        LAST_MONTH,
    )
    assert await sign(resources, timedelta(hours=1)) == 1
    assert await ask(resources, SPANS) == [(1, 2)]


async def test_signers_at_once_sign_each_stretch_once(resources):
    await write(resources, 5)
    await seal_outbox(resources.database)
    assert sum(await asyncio.gather(*(sign(resources) for _ in range(5)))) == 1


async def test_each_checkpoint_goes_outside_once_and_is_marked_after_it(resources, tmp_path):
    await seal(resources, 2, 3)
    assert await export_checkpoints(resources.database, tmp_path) == 2
    assert await export_checkpoints(resources.database, tmp_path) == 0
    lines = [json.loads(line) for line in (tmp_path / EXPORT_FILE).read_text().splitlines()]
    assert [(line["number"], line["last_seq"]) for line in lines] == [(1, 2), (2, 5)]
    assert await ask(resources, "SELECT 1 FROM audit_checkpoints WHERE exported_at IS NULL") == []


async def test_a_checkpoint_that_cannot_be_written_is_not_marked(resources, tmp_path):
    await seal(resources, 2)
    with pytest.raises(OSError, match="nowhere"):
        await export_checkpoints(resources.database, tmp_path / "nowhere")
    assert len(await ask(resources, "SELECT 1 FROM audit_checkpoints WHERE exported_at IS NULL")) == 1


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE audit_checkpoints SET root = 'x'",
        "UPDATE audit_checkpoints SET root = 'x', exported_at = now()",
        "DELETE FROM audit_checkpoints",
        "TRUNCATE audit_checkpoints",
    ],
)
async def test_the_database_refuses_to_change_a_checkpoint(resources, harm):
    await seal(resources, 2)
    with pytest.raises(DBAPIError, match="audit_checkpoints is insert-only"):
        await execute(resources, harm)


async def test_the_mark_of_an_export_cannot_be_taken_back(resources, tmp_path):
    await seal(resources, 2)
    await export_checkpoints(resources.database, tmp_path)
    with pytest.raises(DBAPIError, match="insert-only"):
        await execute(resources, "UPDATE audit_checkpoints SET exported_at = NULL")


async def test_without_a_key_production_seals_on_and_says_what_is_missing(resources):
    production = resources.settings.model_copy(update={"environment": Environment.PRODUCTION})
    with pytest.raises(ConfigurationError, match="audit_signing_key is missing; set AUDIT_SIGNING_KEY to 32 bytes"):
        load_signing_key(production)
    await write(resources, 3)
    with structlog.testing.capture_logs() as logs:
        await consume(production, resources.database)
    assert (await verify(resources)).events == 3
    (told,) = [line for line in logs if line["event"] == "audit_not_signed"]
    assert "AUDIT_SIGNING_KEY" in told["reason"]


async def test_the_consumer_signs_and_exports_what_is_due(resources, tmp_path):
    settings = resources.settings.model_copy(update={"audit_export_directory": tmp_path})
    await seal(resources, 2)
    await consume(settings, resources.database)
    assert (tmp_path / EXPORT_FILE).read_text().count("\n") == 1


@pytest.mark.parametrize("text", ["", "short", "A" * 43, base64.urlsafe_b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_refused_without_being_shown(resources, monkeypatch, text):
    monkeypatch.setenv("AUDIT_SIGNING_KEY", text or "!")
    with pytest.raises(ConfigurationError, match="AUDIT_SIGNING_KEY is not a key; accepted are 32 bytes") as refused:
        load_signing_key(resources.settings)
    assert text not in str(refused.value) or not text


async def test_sealing_times_never_run_backwards_even_when_the_clock_does(resources):
    ahead = datetime.now(UTC) + timedelta(minutes=10)
    await execute(resources, f"UPDATE audit_chain SET sealed_at = '{ahead.isoformat()}'")
    await seal(resources, 2)
    assert [row[0] for row in await ask(resources, "SELECT sealed_at FROM audit_events")] == [ahead] * 2
