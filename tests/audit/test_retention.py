"""Retention: what is old goes, in the audit log only once its root is outside and its end is announced."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from core.audit.checkpoints import export_checkpoints
from core.audit.retention import batch_of, old_runs, old_webhooks, prune
from core.audit.sink import seal_outbox
from core.identity import first_id_at, new_id
from core.models import SyncRun, WebhookEvent
from tests.audit.chain import ask, execute, seal, sign, verify, write

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass ORDER BY 1"


async def seal_in_the_past(resources):
    """Five events sealed in January 2018, by the clock of the chain's head, then three of today."""
    await execute(
        resources,
        "SELECT ensure_audit_partition('2018-01-15T00:00Z')",
        "ALTER TABLE audit_events DISABLE TRIGGER USER",
    )
    await write(resources, 5)
    await seal_outbox(resources.database)
    await execute(resources, "UPDATE audit_events SET sealed_at = '2018-01-15T00:00Z'")
    await execute(resources, "ALTER TABLE audit_events ENABLE ALWAYS TRIGGER insert_only")
    await seal(resources, 3)


async def test_a_month_past_its_retention_goes_and_the_rest_still_verifies(resources, tmp_path):
    await seal_in_the_past(resources)
    await export_checkpoints(resources.database, tmp_path)
    pruned = await prune(resources.settings, resources.database)
    assert pruned.partitions == ("audit_events_201801",)
    assert "audit_events_201801" not in [row[0] for row in await ask(resources, PARTITIONS)]
    await sign(resources)
    found = await verify(resources)
    assert (found.problem, found.events, found.head.seq) == (None, 4, 9)
    announced = "SELECT context FROM audit_events WHERE event_type = 'audit:partition:retired'"
    ((context,),) = await ask(resources, announced)
    assert context == {"partition": "audit_events_201801", "first_seq": 1, "last_seq": 5}


async def test_a_month_whose_root_is_not_outside_stays_and_the_log_says_why(resources):
    await seal_in_the_past(resources)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert (await prune(resources.settings, resources.database)).partitions == ()
    kept = [line for line in logs if line["event"] == "audit_partition_kept"]
    assert [line["reason"] for line in kept] == ["the checkpoints of audit_events_201801 are not exported"] * 2
    assert await ask(resources, "SELECT 1 FROM audit_events WHERE event_type = 'audit:partition:retired'") == []
    await sign(resources)
    assert (await verify(resources)).problem is None


async def test_a_month_that_is_not_over_stays(resources):
    with pytest.raises(DBAPIError, match="is not over yet"):
        await execute(
            resources,
            "SELECT ensure_audit_partition(now())",
            "SELECT drop_audit_partition('audit_events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM'))",
        )


async def test_a_month_goes_only_after_all_before_it(resources, tmp_path):
    await seal_in_the_past(resources)
    await execute(
        resources,
        "SELECT ensure_audit_partition('2018-02-15T00:00Z')",
        "ALTER TABLE audit_events DISABLE TRIGGER USER",
        "UPDATE audit_events SET sealed_at = '2018-02-15T00:00Z' WHERE seq BETWEEN 6 AND 8",
    )
    await export_checkpoints(resources.database, tmp_path)
    with pytest.raises(DBAPIError, match="audit_events_201802 is not the oldest"):
        await execute(resources, "SELECT drop_audit_partition('audit_events_201802')")
    pruned = await prune(resources.settings, resources.database)
    assert pruned.partitions == ("audit_events_201801", "audit_events_201802")


async def test_the_next_months_partition_is_there_before_its_month(resources):
    await prune(resources.settings, resources.database)
    next_month = "SELECT 'audit_events_' || to_char((now() + interval '1 month') AT TIME ZONE 'UTC', 'YYYYMM')"
    assert await ask(resources, next_month) == await ask(resources, PARTITIONS)


def ago(days):
    """Return an id and the moment that it was made, as text."""
    moment = datetime.now(UTC) - timedelta(days=days)
    # Ids are in order of time; of one millisecond any two differ.
    return UUID(int=first_id_at(moment).int + new_id().int % 2**32), moment


async def insert_runs(resources, *runs):
    item = new_id()
    await execute(
        resources,
        "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token)"
        f" VALUES ('{item}', 'u', '{item}', 'sealed:v1:x')",
        *(
            "INSERT INTO sync_runs (id, item_id, trigger, status, started_at)"
            f" VALUES ('{run_id}', '{item}', 'manual', '{status}', '{moment}')"
            for status, (run_id, moment) in runs
        ),
    )


async def test_old_runs_and_webhooks_go_what_runs_or_is_young_stays(resources):
    statuses, ages = ("succeeded", "failed", "running", "succeeded"), (91, 200, 200, 89)
    await insert_runs(resources, *zip(statuses, map(ago, ages), strict=True))
    await execute(
        resources,
        *(
            "INSERT INTO webhook_events"
            " (id, delivery_key, webhook_type, webhook_code, payload, issued_at, received_at)"
            f" VALUES ('{event_id}', uuid_send('{event_id}'), 'T', 'C', '{{}}', now(), '{moment}')"
            for event_id, moment in map(ago, (91, 89))
        ),
    )
    pruned = await prune(resources.settings, resources.database)
    assert (pruned.sync_runs, pruned.webhook_events) == (2, 1)
    assert sorted(row[0] for row in await ask(resources, "SELECT status FROM sync_runs")) == ["running", "succeeded"]
    recorded = await ask(resources, "SELECT context FROM audit_outbox ORDER BY id")
    assert [row[0] for row in recorded] == [
        {"table": "sync_runs", "count": 2},
        {"table": "webhook_events", "count": 1},
    ]


async def test_what_is_old_is_found_without_a_look_at_what_is_young(resources):
    """A look at every row, each hour, outlasts the statement's time-out once the tables are large."""
    await insert_runs(resources, ("succeeded", ago(100)))
    await execute(
        resources,
        "INSERT INTO sync_runs (id, item_id, trigger, status)"
        " SELECT gen_random_uuid(), item_id, 'manual', 'succeeded' FROM sync_runs, generate_series(1, 5000)",
        "INSERT INTO webhook_events (id, delivery_key, webhook_type, webhook_code, payload, issued_at)"
        " SELECT gen_random_uuid(), int4send(number), 'T', 'C', '{}', now() FROM generate_series(1, 5000) AS number",
        "ANALYZE sync_runs, webhook_events",
    )
    for table, past in ((SyncRun, old_runs), (WebhookEvent, old_webhooks)):
        query = batch_of(table, past(datetime.now(UTC) - timedelta(days=90)))
        compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(line for (line,) in await ask(resources, f"EXPLAIN {compiled}"))
        assert f"pk_{table.__tablename__}" in plan, plan
        assert "Filter: (id" not in plan, plan
