"""Least privilege in PostgreSQL: an owner for migrations, a writer for the service, a reader for people.

Every statement may be run again; `manna security setup-database` runs them, and so does each migration for the tables
that it made. Partitions get no rights of their own: whoever writes goes through the parent, whose rules hold.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.database import TIMEOUTS
from core.errors import ConfigurationError

PREFIX = "manna"
# What the writer may do where it may not do everything: sealed events stay as they are.
NARROWED = {
    "audit_events": "SELECT, INSERT",
    "audit_checkpoints": "SELECT, INSERT, UPDATE (exported_at)",
    "audit_chain": "SELECT, UPDATE",
    "audit_outbox": "SELECT, INSERT, DELETE",
    "alembic_version": "SELECT",
}
EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
CIPHERTEXT = ("plaid_items", "plaid_access_token")
READER_TIMEOUTS = {**TIMEOUTS, "default_transaction_read_only": "on"}


@dataclass(frozen=True, slots=True)
class Roles:
    """The three roles' names."""

    prefix: str = PREFIX

    @property
    def owner(self) -> str:
        """Owns schema and tables; migrations log in as it."""
        return f"{self.prefix}_owner"

    @property
    def writer(self) -> str:
        """The service logs in as it."""
        return f"{self.prefix}_writer"

    @property
    def reader(self) -> str:
        """Reads everything but the sealed tokens."""
        return f"{self.prefix}_reader"


async def create_roles(connection: AsyncConnection, roles: Roles) -> None:
    """Make the roles that do not exist yet, without a password, and set the time-outs that a pooler cannot pass on."""
    for role in (roles.owner, roles.writer, roles.reader):
        found = await connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": role})
        if not found:
            await _run(connection, f"CREATE ROLE {_name(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
    timeouts = ((roles.writer, TIMEOUTS), (roles.reader, READER_TIMEOUTS))
    for role, values in timeouts:
        for setting, value in values.items():
            await _run(connection, f"ALTER ROLE {_name(role)} SET {setting} = '{value}'")


async def set_password(connection: AsyncConnection, role: str, password: str) -> None:
    """Give a role its password. Only the verifier is sent, so that no server log can hold the password."""
    await _run(connection, f"ALTER ROLE {_name(role)} PASSWORD '{scram_verifier(password, os.urandom(16))}'")


def scram_verifier(password: str, salt: bytes, iterations: int = 4096) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5803); it is of no use for logging in.

    Raises:
        ConfigurationError: the password is not printable ASCII, whose forms alone are the same for every client.
    """
    if not (password.isascii() and password.isprintable()):
        raise ConfigurationError("a database password is accepted in printable ASCII only")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


async def give_to_owner(connection: AsyncConnection, roles: Roles) -> None:
    """Hand schema, tables, sequences and functions of `public` to the owner; nobody else may create anything."""
    owner = _name(roles.owner)
    # Whoever hands over has to be in the role that receives; a superuser is in all.
    await _run(connection, f"GRANT {owner} TO CURRENT_USER")
    database = await connection.scalar(text("SELECT current_database()"))
    await _run(connection, f"GRANT CONNECT, CREATE ON DATABASE {_name(str(database))} TO {owner}")
    await _run(connection, f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}")
    await _run(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for table in await _names(connection, TABLES + " UNION " + PARTITIONS):
        await _run(connection, f"ALTER TABLE public.{_name(table)} OWNER TO {owner}")
    for function in await _names(connection, FUNCTIONS):
        await _run(connection, f"ALTER FUNCTION {function} OWNER TO {owner}")


async def grant(connection: AsyncConnection, roles: Roles) -> None:
    """Give writer and reader exactly their rights on the tables of now, and take away what is more."""
    for statement in [*_grants_on_schema(roles), *await _grants_on_tables(connection, roles)]:
        await _run(connection, statement)


async def roles_exist(connection: AsyncConnection, roles: Roles) -> bool:
    """Tell whether this server has the roles: without them, migrations grant nothing."""
    names = [roles.owner, roles.writer, roles.reader]
    count = await connection.scalar(text("SELECT count(*) FROM pg_roles WHERE rolname = ANY(:names)"), {"names": names})
    return bool(count == len(names))


TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
    "AND relkind IN ('r', 'p') AND NOT relispartition"
)
PARTITIONS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relispartition"
FUNCTIONS = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = :table"


def _grants_on_schema(roles: Roles) -> Iterator[str]:
    writer, reader = _name(roles.writer), _name(roles.reader)
    yield f"GRANT USAGE ON SCHEMA public TO {writer}, {reader}"
    yield "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC"
    yield f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {writer}"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {writer}, {reader}, PUBLIC"


async def _grants_on_tables(connection: AsyncConnection, roles: Roles) -> list[str]:
    statements = []
    for table in await _names(connection, TABLES):
        rights = NARROWED.get(table, EVERYTHING)
        statements.append(f"GRANT {rights} ON public.{_name(table)} TO {_name(roles.writer)}")
        columns = await _readable_columns(connection, table)
        statements.append(f"GRANT SELECT {columns} ON public.{_name(table)} TO {_name(roles.reader)}")
    return statements


async def _readable_columns(connection: AsyncConnection, table: str) -> str:
    if table != CIPHERTEXT[0]:
        return ""
    found = await connection.scalars(text(COLUMNS), {"table": table})
    return "(" + ", ".join(_name(column) for column in found if column != CIPHERTEXT[1]) + ")"


async def _names(connection: AsyncConnection, query: str) -> list[str]:
    return sorted(await connection.scalars(text(query)))


async def _run(connection: AsyncConnection, statement: str) -> None:
    await connection.exec_driver_sql(statement)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
