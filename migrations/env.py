"""Runs migrations online, with the service's own engine: same TLS, same time-outs, same errors in one line."""

import asyncio
import sys

from alembic import context
from sqlalchemy import Connection

from core.database import Base, open_database, wait_for_database
from core.database_roles import Roles, grant, roles_exist
from core.errors import MannaError
from core.models import AuditEvent, JournalPage
from core.secrets import secrets_manager
from core.settings import load_settings

# Two migrations at once, from two deployments, wait for each other.
ADVISORY_LOCK = 0x6D616E6E61
PARTITIONS = tuple(f"{model.__tablename__}_" for model in (AuditEvent, JournalPage))


def include_object(_thing: object, name: str | None, kind: str, _reflected: object, _other: object) -> bool:
    """Leave the partitions to `ensure_audit_partition` and `ensure_journal_partition`: no model describes them."""
    return not (kind == "table" and (name or "").startswith(PARTITIONS))


def migrate(connection: Connection) -> None:
    """Run what is asked for, each revision in a transaction of its own, so that one may commit in batches."""
    # The session's lock, for it outlives those transactions; behind PgBouncer, migrate by a direct address. The other
    # deployment may migrate for longer than a service waits for a lock or for a statement's end.
    connection.exec_driver_sql("SET lock_timeout = 0")
    connection.exec_driver_sql("SET statement_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql("RESET lock_timeout")
    connection.exec_driver_sql("RESET statement_timeout")
    connection.commit()
    context.configure(
        connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        include_object=include_object,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run() -> None:
    """Connect as the service does, and migrate."""
    settings = load_settings()
    database = open_database(settings, secrets_manager.get_database_url())
    try:
        await wait_for_database(database, settings)
        async with database.bare_connection() as connection:
            await connection.run_sync(migrate)
            if await roles_exist(connection, Roles()):
                await grant(connection, Roles())
                # A bare connection: what nobody commits is not granted.
                await connection.commit()
    finally:
        await database.close()


# A test that holds a connection of its own hands it in; everybody else gets the service's.
given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    try:
        asyncio.run(run())
    except MannaError as error:
        sys.exit(f"alembic: {error}")
