"""The database takes inserts and nothing else, whoever asks and whichever table is named."""

import pytest
from sqlalchemy.exc import DBAPIError

from tests.audit.chain import ask, execute, seal

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass"
CHANGES = ("UPDATE {} SET actor = 'me'", "DELETE FROM {}", "TRUNCATE {}")


@pytest.mark.parametrize("change", CHANGES)
async def test_neither_the_table_nor_a_partition_can_be_changed(resources, change):
    await seal(resources, 2)
    ((partition,),) = await ask(resources, PARTITIONS)
    for table in ("audit_events", partition):
        with pytest.raises(DBAPIError, match=f"{table} is insert-only: {change.split()[0]} refused"):
            await execute(resources, change.format(table))


@pytest.mark.parametrize("change", CHANGES)
async def test_nor_by_a_session_that_plays_a_replica(resources, change):
    await seal(resources, 2)
    ((partition,),) = await ask(resources, PARTITIONS)
    for table in ("audit_events", partition):
        with pytest.raises(DBAPIError, match="insert-only"):
            await execute(resources, "SET LOCAL session_replication_role = replica", change.format(table))


async def test_a_role_that_may_do_everything_to_the_tables_may_still_only_insert(resources):
    await seal(resources, 2)
    ((partition,),) = await ask(resources, PARTITIONS)
    for table in ("audit_events", partition):
        for change in CHANGES:
            with pytest.raises(DBAPIError, match="insert-only"):
                await execute(
                    resources,
                    "CREATE ROLE greedy",
                    f"GRANT ALL ON audit_events, {partition} TO greedy",
                    "SET LOCAL ROLE greedy",
                    change.format(table),
                )


async def test_dropping_a_month_is_nobodys_right_by_default(resources):
    await seal(resources, 2)
    ((partition,),) = await ask(resources, PARTITIONS)
    with pytest.raises(DBAPIError, match="permission denied for function drop_audit_partition"):
        await execute(
            resources, "CREATE ROLE curious", "SET LOCAL ROLE curious", f"SELECT drop_audit_partition('{partition}')"
        )


@pytest.mark.parametrize("name", ["plaid_items", "audit_events", "nothing", "audit_events_x"])
async def test_only_a_partition_of_the_log_can_be_dropped(resources, name):
    with pytest.raises(DBAPIError, match="is no partition of audit_events"):
        await execute(resources, f"SELECT drop_audit_partition('{name}')")
