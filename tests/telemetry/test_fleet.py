"""The fleet's state, as one page tells it."""

import asyncio
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from core.broker.messages import ConsumeAudit, SyncItem
from core.encryption.keyring import current_keyring
from core.identity import first_id_at, new_id
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.resources import open_resources
from core.sync.replay import Selection, create_replay
from core.sync.resend import TICKED_KEY
from core.telemetry.fleet import FAMILIES, Fleet
from devstack.places import free_port
from web.app import make_app


async def fetch(settings, resources):
    @asynccontextmanager
    async def opened(_settings):
        yield resources

    app = make_app(settings, opened)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def lint(page):
    command = ["promtool", "check", "metrics"]
    return subprocess.run(command, input=page, capture_output=True, text=True, check=False).stderr.splitlines()


async def run(resources, statement, **values):
    async with resources.database.connection() as connection:
        await connection.execute(text(statement), values)


async def test_the_page_tells_the_state_and_no_ids(metrics, read, settings, resources):
    many = [NewItem("usr1", f"itm{number}", "access-sandbox-1", "ins_1") for number in range(4)]
    item_ids = await register_items(resources.database, many, "operator:test")
    await run(resources, "UPDATE plaid_items SET next_sync_at = now() + interval '1 hour', last_synced_at = now()")
    await run(
        resources,
        "UPDATE plaid_items SET status = 'error', error_code = 'INVALID_FIELD', next_sync_at = NULL WHERE id = :id",
        id=item_ids[0],
    )
    await run(
        resources,
        "UPDATE plaid_items SET last_synced_at = now() - interval '2 hours', next_sync_at = now() - interval '100 s'"
        " WHERE id = :id",
        id=item_ids[1],
    )
    await run(
        resources,
        "INSERT INTO circuit_breakers (scope, state, error_type, error_code, opened_at)"
        " VALUES ('institution:ins_1', 'open', 'INSTITUTION_ERROR', 'INSTITUTION_DOWN', now())",
    )
    await run(
        resources,
        "INSERT INTO webhook_events (id, delivery_key, webhook_type, webhook_code, item_id, payload, issued_at,"
        " received_at) VALUES (:id, 'k', 'TRANSACTIONS', 'SYNC_UPDATES_AVAILABLE', :item_id, '{}', now(),"
        " now() - interval '3 s')",
        id=new_id(),
        item_id=item_ids[2],
    )
    await run(
        resources,
        "INSERT INTO sync_runs (id, item_id, trigger, status, started_at, finished_at)"
        " VALUES (:id, :item_id, 'webhook', 'succeeded', now() - interval '2 s', now() - interval '1 s')",
        id=uuid4(),
        item_id=item_ids[2],
    )
    await create_replay(resources, Selection(error_code="INVALID_FIELD"), "operator:jo")
    await resources.publisher.publish(SyncItem(item_ids[3], SyncTrigger.WEBHOOK))

    page = await fetch(settings, resources)
    found = read(page)
    assert found["manna_items", "status=active"] == 3
    assert found["manna_items", "status=error"] == 1
    assert found["manna_items_failing", "error_code=INVALID_FIELD"] == 1
    assert found["manna_items_due",] == 1
    assert 100 <= found["manna_items_due_oldest_seconds",] < 400
    assert found["manna_item_age_seconds", "quantile=1"] >= 7200
    assert found["manna_item_age_seconds", "quantile=0.5"] < 3600
    assert 1.9 < found["manna_webhook_to_commit_seconds", "quantile=0.95"] < 2.1
    assert found["manna_breaker_open", "scope=institution:ins_1"] == 1
    assert found["manna_replay_items", "state=waiting"] == 1
    assert found["manna_queue_messages", "queue=sync.webhook"] == 1
    assert 0 <= found["manna_queue_oldest_seconds", "queue=sync.webhook"] < 300
    assert found["manna_audit_outbox_events",] == 5
    assert found["manna_encryption_key_info", f"key_id={current_keyring().primary.key_id}"] == 1
    assert found["manna_fleet_readable", "part=database"] == found["manna_fleet_readable", "part=redis"] == 1
    for private in (*map(str, item_ids), "itm1", "usr1", "access-sandbox"):
        assert private not in page


async def test_what_waits_and_what_is_under_way_is_told(metrics, read, settings, resources):
    many = [NewItem("usr1", f"itm{number}", "access-sandbox-1", "ins_1") for number in range(2)]
    item_ids = await register_items(resources.database, many, "operator:test")
    await run(resources, "UPDATE plaid_items SET parked_at = now() WHERE id = :id", id=item_ids[0])
    await run(resources, "UPDATE audit_outbox SET occurred_at = now() - interval '90 s'")
    await run(
        resources,
        "INSERT INTO sync_runs (id, item_id, trigger, status, started_at)"
        " VALUES (:id, :item_id, 'manual', 'running', now() - interval '70 s')",
        id=uuid4(),
        item_id=item_ids[1],
    )
    await run(resources, "UPDATE plaid_items SET error_code = 'INVALID_FIELD' WHERE id = :id", id=item_ids[1])
    await create_replay(resources, Selection(ids=(item_ids[1],)), "operator:jo")
    await resources.redis.set(TICKED_KEY, int(time.time()) - 40)
    await resources.redis.hset("unacked", "tag", "{}")
    lock = text("SELECT FROM plaid_items WHERE id = :id FOR UPDATE")
    async with resources.database.connection() as holder, resources.database.connection() as waiting:
        await holder.execute(lock, {"id": item_ids[0]})
        wanted = asyncio.ensure_future(waiting.execute(lock, {"id": item_ids[0]}))
        async with resources.database.connection() as watching:
            while not await watching.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                await watching.execute(text("SELECT pg_sleep(0.02)"))
        found = read(await fetch(settings, resources))
        await holder.rollback()
        await wanted
    assert found["manna_database_lock_waits",] == 1
    assert found["manna_database_lock_wait_oldest_seconds",] > 0
    assert found["manna_items_parked",] == 1
    assert found["manna_runs_running",] == 1
    assert 70 <= found["manna_runs_oldest_seconds",] < 400
    assert 90 <= found["manna_audit_outbox_oldest_seconds",] < 400
    assert 40 <= found["manna_dispatch_age_seconds",] < 400
    assert found["manna_queue_unacked_messages",] == 1
    assert found["manna_replays_open", "status=running"] == 1


@pytest.mark.extras("promtool")
async def test_prometheus_finds_the_names_good(metrics, settings, resources):
    page = await fetch(settings, resources)
    # Python's and the process's own are prometheus_client's.
    assert [line for line in lint(page) if not line.startswith(("python_", "process_"))] == []


async def test_every_family_is_on_the_page(metrics, settings, resources):
    page = await fetch(settings, resources)
    assert {family.name for family in FAMILIES if f"# TYPE {family.name} gauge" in page} == {
        family.name for family in FAMILIES
    }


async def test_prometheus_needs_no_certificate(metrics, settings, resources):
    assert "manna_items" in await fetch(settings.model_copy(update={"require_https": True}), resources)


async def test_the_page_outlives_redis_and_the_database(metrics, read, settings, resources):
    async with open_resources(settings) as own:
        await own.database.close()
        away = Redis(port=free_port())
        found = read(await fetch(settings, replace(own, redis=away)))
        await away.aclose()
    assert found["manna_fleet_readable", "part=redis"] == 0
    assert found["manna_fleet_readable", "part=database"] == 1
    assert found["manna_items_due",] == 0


async def test_the_oldest_message_tells_how_long_it_has_waited(resources, read):
    await resources.publisher.publish(ConsumeAudit())
    fleet = Fleet(resources)
    families = {family.name: family for family in await fleet.read()}
    waits = {sample.labels["queue"]: sample.value for sample in families["manna_queue_oldest_seconds"].samples}
    assert waits["sync.webhook"] == 0
    assert 0 <= waits["audit"] < 300
    # A second reading within seconds is the same one.
    await resources.publisher.publish(ConsumeAudit())
    assert await fleet.read() is await fleet.read()


@pytest.mark.parametrize(("rests", "counted"), [(0, 2), (10**9, 1)], ids=["cheap", "costly"])
async def test_items_are_counted_anew_only_after_a_rest(resources, monkeypatch, rests, counted):
    monkeypatch.setattr("core.telemetry.fleet.FRESH_SECONDS", -1)
    monkeypatch.setattr("core.telemetry.fleet.RESTS", rests)
    fleet = Fleet(resources)
    for number in (1, 2):
        new = NewItem("u", f"itm{number}", "access-sandbox-1")
        await register_items(resources.database, [new], "operator:test")
        families = {family.name: family for family in await fleet.read()}
    assert [sample.value for sample in families["manna_items"].samples] == [counted]


def test_ids_of_a_moment_lead_to_those_made_since():
    now = datetime.now(UTC)
    assert first_id_at(now - timedelta(seconds=1)) < new_id() < first_id_at(now + timedelta(seconds=60))
