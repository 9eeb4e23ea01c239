"""The indexes of the audit log are built beside whoever writes it, and taken up where an abort left them."""

import json

import asyncpg
import pytest

from tests.migration.test_migrations import alembic

BEFORE = "20251010_0000"
NAME = "ix_audit_events_rare_type_seq"
UNFINISHED = f"""CREATE INDEX {NAME} ON ONLY audit_events (event_type, seq)
    WHERE event_type <> ALL (ARRAY['plaid:item:synced'::text, 'plaid:token:decrypted'::text])"""
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
PARTS = "SELECT count(*) FROM pg_inherits WHERE inhparent = $1::regclass"
LISTED = "SELECT seq FROM audit_events WHERE {} = $1 ORDER BY seq DESC LIMIT 50"


@pytest.fixture
async def old(settings, database_url):
    """A database before the revision, with two months of the audit log."""
    assert alembic("downgrade", BEFORE).returncode == 0
    connection = await asyncpg.connect(database_url)
    for month in ("2031-01-15T00:00Z", "2031-02-15T00:00Z"):
        await connection.execute(f"SELECT ensure_audit_partition('{month}')")
    yield connection
    await connection.close()


@pytest.mark.parametrize("left", ["", UNFINISHED], ids=["at once", "after an abort"])
async def test_every_partition_has_the_index_those_that_come_later_too(old, left):
    if left:
        await old.execute(left)
    assert alembic("upgrade", "head").returncode == 0
    await old.execute("SELECT ensure_audit_partition('2031-03-15T00:00Z')")
    assert await old.fetch(INVALID) == []
    assert await old.fetchval(PARTS, NAME) == await old.fetchval(PARTS, "audit_events") >= 3


@pytest.mark.parametrize(
    ("column", "value", "index"),
    [("event_type", "auth:login:failed", "rare_type_seq"), ("actor", "operator:ops", "other_actor_seq")],
)
async def test_what_is_rare_is_found_by_an_index_of_its_own(old, column, value, index):
    assert alembic("upgrade", "head").returncode == 0
    # Empty, the table is cheaper to read than any index.
    await old.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
    plan = await old.prepare(LISTED.format(column))
    assert index in json.dumps(await plan.explain(value))
