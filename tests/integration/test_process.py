"""A process that fails half way through its start leaves nothing open behind it."""

import asyncio

import asyncpg
import pytest
from sqlalchemy.exc import ProgrammingError

from core.process import Process

OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def test_a_start_that_cannot_put_its_settings_on_record_closes_what_it_opened(settings):
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute("ALTER TABLE audit_outbox RENAME TO elsewhere")
    with pytest.raises(ProgrammingError, match="audit_outbox"):
        await asyncio.to_thread(Process, settings)
    async with asyncio.timeout(20):
        while await connection.fetchval(OTHERS):
            await connection.execute("SELECT pg_sleep(0.05)")
    await connection.close()
