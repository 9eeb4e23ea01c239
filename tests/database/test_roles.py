"""Owner, writer and reader: each may do its work, and nothing that the audit promises forbid."""

from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from core.database import open_database
from core.database_roles import Roles, create_roles, give_to_owner, grant, roles_exist, set_password
from core.errors import ConfigurationError

PASSWORD = "a-Password-that-is-long-enough"
DENIED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def roles(settings):
    """The three roles on the test's database, under names of the test's own."""
    roles = Roles(f"m{uuid4().hex[:12]}")
    database = open_database(settings, settings.database_url)
    for _ in range(2):  # everything may be run again
        async with database.connection() as connection:
            await create_roles(connection, roles)
            await give_to_owner(connection, roles)
            await grant(connection, roles)
            for role in (roles.owner, roles.writer, roles.reader):
                await set_password(connection, role, PASSWORD)
            assert await roles_exist(connection, roles)
    yield roles
    async with database.connection() as connection:
        for role in (roles.owner, roles.writer, roles.reader):
            await connection.exec_driver_sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
            await connection.exec_driver_sql(f"DROP OWNED BY {role}")
            await connection.exec_driver_sql(f"DROP ROLE {role}")
    await database.close()


@pytest.fixture
async def log_in(settings):
    opened = []

    async def connect(role):
        url = make_url(settings.database_url).set(username=role, password=PASSWORD)
        opened.append(await asyncpg.connect(url.render_as_string(hide_password=False)))
        return opened[-1]

    yield connect
    for connection in opened:
        await connection.close()


async def seal_one(connection):
    await connection.execute("SELECT ensure_audit_partition(now())")
    await connection.execute(
        "INSERT INTO audit_events (seq, event_id, event_type, occurred_at, actor, message, context, prev_hash, hash)"
        " VALUES (1, gen_random_uuid(), 'a:b:c', now(), 'me', 'it happened', '{}', '', '')"
    )


async def test_the_writer_seals_and_changes_nothing_sealed(roles, log_in):
    writer = await log_in(roles.writer)
    await seal_one(writer)
    partition = await writer.fetchval("SELECT tableoid::regclass::text FROM audit_events")
    for table in ("audit_events", partition):
        for statement in (f"UPDATE {table} SET actor = 'you'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(DENIED):
                await writer.execute(statement)
    for statement in (
        f"DROP TABLE {partition}",
        "DROP TRIGGER insert_only ON audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE TABLE public.own (id int)",
        f"INSERT INTO {partition} SELECT * FROM audit_events",
        "DELETE FROM audit_chain",
    ):
        with pytest.raises((DENIED, asyncpg.InsufficientPrivilegeError)):
            await writer.execute(statement)
    assert await writer.fetchval("SELECT count(*) FROM audit_events") == 1


async def test_the_writer_does_the_service_s_work(roles, log_in):
    writer = await log_in(roles.writer)
    item = await writer.fetchval(
        "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token)"
        " VALUES (gen_random_uuid(), 'u', 'i', 'sealed:v1:x') RETURNING id"
    )
    await writer.execute("UPDATE plaid_items SET version = version + 1 WHERE id = $1", item)
    await writer.execute("DELETE FROM plaid_items WHERE id = $1", item)
    assert await writer.fetchval("SHOW statement_timeout") == "30s"


async def test_the_reader_reads_all_but_the_sealed_tokens(roles, log_in):
    reader = await log_in(roles.reader)
    assert await reader.fetchval("SELECT count(*) FROM audit_events") == 0
    assert await reader.fetch("SELECT id, user_id, status FROM plaid_items") == []
    with pytest.raises(DENIED):
        await reader.fetch("SELECT plaid_access_token FROM plaid_items")
    with pytest.raises((DENIED, asyncpg.ReadOnlySQLTransactionError)):
        await reader.execute("DELETE FROM plaid_items")


async def test_the_owner_owns_what_migrations_make(roles, log_in):
    owner = await log_in(roles.owner)
    await owner.execute("ALTER TABLE plaid_items ADD COLUMN later text")
    await owner.execute("CREATE TABLE public.made_later (id int)")
    unheld = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner <> $1"
    assert await owner.fetchval(unheld, roles.owner) == 0


async def test_only_a_verifier_of_the_password_is_sent(settings):
    database = open_database(settings, settings.database_url)
    with pytest.raises(ConfigurationError, match="printable ASCII") as refused:
        async with database.connection() as connection:
            await set_password(connection, "nobody", "pässword")
    assert "pässword" not in str(refused.value)
    await database.close()
