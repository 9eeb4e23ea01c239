import asyncio
import subprocess
import sys

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from core.database import TIMEOUTS
from tests.conftest import ROOT


def alembic(*arguments):
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_models_and_migrations_agree(settings):
    checked = alembic("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_down_to_nothing_and_up_again(settings):
    assert alembic("downgrade", "base").returncode == 0
    assert alembic("upgrade", "head").returncode == 0
    assert alembic("check").returncode == 0


async def test_items_that_are_there_get_their_schedule_and_later_ones_too(settings, database_url):
    """The migration copies, the trigger keeps; going back leaves the Items as they are."""
    connection = await asyncpg.connect(database_url)
    schedules = """SELECT plaid_item_id, due_at IS NOT DISTINCT FROM next_sync_at, never_synced
        FROM plaid_items JOIN item_schedules ON item_id = id ORDER BY 1"""
    insert = """INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token, next_sync_at, last_synced_at)
        SELECT gen_random_uuid(), 'u', prefix || n, 'sealed:x', CASE WHEN n > 0 THEN now() + n * interval '1 h' END,
            CASE WHEN n > 1 THEN now() END FROM generate_series(0, 2) AS n, CAST($1 AS text) AS prefix"""
    assert alembic("downgrade", "20250928_0000").returncode == 0
    await connection.execute(insert, "before-")
    assert alembic("upgrade", "head").returncode == 0
    await connection.execute(insert, "later-")
    expected = [(f"{prefix}-{n}", True, n < 2) for prefix in ("before", "later") for n in range(3)]
    assert [tuple(row) for row in await connection.fetch(schedules)] == expected
    assert alembic("downgrade", "20250928_0000").returncode == 0
    assert await connection.fetchval("SELECT count(next_sync_at) FROM plaid_items") == 4
    await connection.close()


async def test_the_chain_takes_inserts_only(database_url):
    connection = await asyncpg.connect(database_url)
    for statement in ("UPDATE audit_events SET actor = 'me'", "DELETE FROM audit_events", "TRUNCATE audit_events"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="insert-only"):
            await connection.execute(statement)
    await connection.close()


def test_a_wrong_address_is_one_line(settings, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://localhost/manna")
    refused = alembic("upgrade", "head")
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines() == [
        "alembic: DATABASE_URL is not for PostgreSQL; accepted is postgresql://user@host:port/name"
    ]


async def test_a_second_deployment_waits_for_the_migration_of_the_first(settings, database_url, monkeypatch):
    monkeypatch.setitem(TIMEOUTS, "lock_timeout", "50")
    first = await asyncpg.connect(database_url)
    await first.execute("SELECT pg_advisory_lock($1)", int("6D616E6E61", 16))
    second = asyncio.create_task(asyncio.to_thread(command.upgrade, Config(ROOT / "alembic.ini"), "head"))
    waits = """SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE datname = current_database() AND NOT granted AND waitstart < clock_timestamp() - interval '100 ms'"""
    while not await first.fetchval(waits) and not second.done():  # noqa: ASYNC110 - it waits in the database
        await asyncio.sleep(0.01)
    assert not second.done()
    await first.close()
    await second
