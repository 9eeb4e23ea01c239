"""The audit consumer and its chain."""

import asyncio

import pytest
from sqlalchemy import text

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.sink import seal_batch, seal_outbox, verify_chain


async def write(resources, count):
    async with resources.database.transaction() as session:
        for number in range(count):
            context = AuditContext(version=number)
            await log_audit_event(AuditEventType.ITEM_SYNCED, "A test", session=session, context=context)


async def execute(resources, *statements):
    async with resources.database.connection() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_what_was_written_is_sealed_once_and_verifies(resources):
    await write(resources, 25)
    assert await seal_outbox(resources.database) == 25
    assert await seal_outbox(resources.database) == 0
    found = await verify_chain(resources.database, batch=7)
    assert (found.events, found.problem) == (25, None)


async def test_several_consumers_at_once_seal_each_event_once(resources):
    await write(resources, 40)
    sealed = await asyncio.gather(*(seal_batch(resources.database, 10) for _ in range(6)))
    assert sum(sealed) == 40
    assert (await verify_chain(resources.database)).events == 40


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ("UPDATE audit_events SET actor = 'somebody else' WHERE seq = 3", "event 3 is not what was sealed"),
        ("DELETE FROM audit_events WHERE seq = 3", "event 3 is missing"),
        ("DELETE FROM audit_events WHERE seq = 5", "event 5 and all after it are missing"),
        ("UPDATE audit_chain SET hash = decode(repeat('01', 32), 'hex')", "the head of the chain does not match"),
    ],
)
async def test_harm_is_found(resources, harm, problem):
    await write(resources, 5)
    await seal_outbox(resources.database)
    # What somebody with the owner's rights could do.
    await execute(resources, "ALTER TABLE audit_events DISABLE TRIGGER USER", harm)
    assert problem in (await verify_chain(resources.database)).problem
