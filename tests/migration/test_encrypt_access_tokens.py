"""The revision that encrypts: from plain text to envelopes, in batches, resumable, with nothing half done."""

import asyncio
import signal
import subprocess
import sys

import asyncpg
import pytest
from alembic.config import CommandLine

from core.encryption.cipher import context_of
from core.encryption.provider import EncryptionKeyProvider
from core.identity import new_id
from tests.conftest import ROOT

BEFORE, AFTER = "20250912_0000", "20250918_0500"
TOKEN = "access-sandbox-5f0c-{}"
# The second batch's event waits for whoever holds this lock; the first batch is committed by then.
STOP_AT_THE_SECOND_BATCH = """
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM audit_outbox) THEN PERFORM pg_advisory_xact_lock(1); END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER stop BEFORE INSERT ON audit_outbox FOR EACH ROW EXECUTE FUNCTION stop()
"""
WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE datname = current_database() AND locktype = 'advisory' AND objid = 1 AND NOT granted
"""
CONSTRAINT = "plaid_access_token_is_sealed"


async def migrated(*arguments: str) -> str | None:
    """Run Alembic's own command line in a thread of this process; return its one line of failure, if it failed."""
    try:
        await asyncio.to_thread(CommandLine().main, ["-c", str(ROOT / "alembic.ini"), *arguments])
    except SystemExit as ended:
        return str(ended.code)
    return None


@pytest.fixture
async def connection(settings, database_url):
    """A database before the revision."""
    assert await migrated("downgrade", BEFORE) is None
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


async def plain_items(connection, count, token=TOKEN):
    rows = [(new_id(), f"itm{number}", token.format(number)) for number in range(count)]
    await connection.executemany(
        "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token) VALUES ($1, 'u', $2, $3)", rows
    )
    return {item_id: plain for item_id, _, plain in rows}


async def stored(connection):
    return {row["id"]: row["plaid_access_token"] for row in await connection.fetch("SELECT * FROM plaid_items")}


def opened(envelopes):
    keyring = EncryptionKeyProvider.load_keyring()
    return {
        item_id: keyring.open(sealed, context_of("plaid_items", "plaid_access_token", item_id))
        for item_id, sealed in envelopes.items()
    }


async def test_plain_tokens_are_sealed_recorded_and_refused_from_then_on(connection):
    plain = await plain_items(connection, 5)
    assert await migrated("upgrade", AFTER) is None
    sealed = await stored(connection)
    assert opened(sealed) == plain
    event = await connection.fetchrow("SELECT * FROM audit_outbox")
    assert (event["event_type"], event["actor"]) == ("keys:tokens:encrypted", f"migration:{AFTER}")
    assert '"count": 5' in event["context"]
    with pytest.raises(asyncpg.CheckViolationError, match=CONSTRAINT):
        await plain_items(connection, 1)
    assert await migrated("upgrade", AFTER) is None
    assert await stored(connection) == sealed


async def test_a_table_without_version_gets_one(connection):
    await connection.execute("ALTER TABLE plaid_items DROP COLUMN version")
    await plain_items(connection, 1)
    assert await migrated("upgrade", AFTER) is None
    assert await connection.fetchval("SELECT version FROM plaid_items") == 0


async def test_a_value_that_is_no_token_stops_it_with_nothing_changed(connection):
    plain = await plain_items(connection, 3)
    odd = new_id()
    foreign = "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token) VALUES ($1, 'u', 'odd', $2)"
    await connection.execute(foreign, odd, "gAAAAABo-another-librarys-ciphertext")
    line = await migrated("upgrade", AFTER)
    assert line.startswith(
        f"alembic: Migration failed to encrypt tokens: 1 of 4 tokens cannot be read, the first in {odd}; nothing was"
    )
    assert "manna keys import-tokens" in line
    assert len(line.splitlines()) == 1
    left = await stored(connection)
    assert left.pop(odd).startswith("gAAAAAB")
    assert left == plain
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == BEFORE


async def test_without_a_key_it_says_so_and_changes_nothing(connection, monkeypatch):
    plain = await plain_items(connection, 1)
    monkeypatch.delenv("MANNA_ENCRYPTION_KEY")
    line = await migrated("upgrade", AFTER)
    assert line.startswith("alembic: Migration failed to encrypt tokens: Encryption not initialized")
    assert await stored(connection) == plain


async def test_an_empty_database_needs_no_key(connection, monkeypatch):
    monkeypatch.delenv("MANNA_ENCRYPTION_KEY")
    assert await migrated("upgrade", AFTER) is None


async def test_killed_in_the_middle_it_goes_on_where_it_stood(connection, database_url):
    plain = await plain_items(connection, 3000)
    await connection.execute(STOP_AT_THE_SECOND_BATCH)
    gate = await asyncpg.connect(database_url)
    await gate.execute("SELECT pg_advisory_lock(1)")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alembic", "upgrade", AFTER, cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while not await connection.fetchval(WAITING):  # noqa: ASYNC110 - PostgreSQL sends no event for a lock waited for
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await gate.close()
    await connection.execute("DROP TRIGGER stop ON audit_outbox")
    sealed = "SELECT count(*) FROM plaid_items WHERE plaid_access_token LIKE 'sealed:%'"
    assert await connection.fetchval(sealed) in {1000, 2000}
    assert await migrated("upgrade", AFTER) is None
    assert opened(await stored(connection)) == plain
    assert await connection.fetchval("SELECT sum((context->>'count')::int) FROM audit_outbox") == 3000


async def test_a_downgrade_keeps_tokens_sealed_unless_plain_text_is_asked_for(connection):
    plain = await plain_items(connection, 2)
    assert await migrated("upgrade", AFTER) is None
    assert await migrated("downgrade", BEFORE) is None
    assert opened(await stored(connection)) == plain
    assert await migrated("upgrade", AFTER) is None
    assert await migrated("-x", "decrypt-tokens=yes", "downgrade", BEFORE) is None
    assert await stored(connection) == plain
    recorded = "SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:token:decrypted'"
    assert await connection.fetchval(recorded) == 1
