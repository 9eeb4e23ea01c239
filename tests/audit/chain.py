"""A chain to do things to: events written, sealed and signed at once, statements as the owner could run them."""

from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import text

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.checkpoints import sign_checkpoints
from core.audit.signing import load_public_keys, load_signing_key
from core.audit.sink import seal_outbox
from core.audit.verification import verify_chain


async def write(resources, count, event_type=AuditEventType.ITEM_SYNCED, **facts):
    async with resources.database.transaction() as session:
        for number in range(count):
            context = AuditContext(version=number, **facts)
            await log_audit_event(event_type, "A test", session=session, context=context, resource=f"item:{number}")


async def sign(resources, longest_unsigned=timedelta(0)):
    return await sign_checkpoints(resources.database, load_signing_key(resources.settings), longest_unsigned)


async def seal(resources, *stretches):
    """Write, seal and sign so many events at a time."""
    for count in stretches:
        await write(resources, count)
        await seal_outbox(resources.database)
        await sign(resources)


async def verify(resources, **options):
    return await verify_chain(resources.database, load_public_keys(resources.settings), **options)


async def execute(resources, *statements):
    async with resources.database.connection() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def ask(resources, question, **parameters):
    async with resources.database.connection() as connection:
        return (await connection.execute(text(question), parameters)).all()


class Held:
    """One connection in place of a database: what is verified on it is rolled back afterwards."""

    def __init__(self, connection):
        self._connection = connection

    @asynccontextmanager
    async def connection(self):
        yield self._connection
