"""What the users of other Plaid clients suffer from, each by the thread that tells of it.

The engine's of the fifteen: 11 (an Item linked twice) is registration's, 14 (webhook keys) is the verification's, 15
(encryption off) is the settings', and tested there.
"""

import asyncio
from decimal import Decimal

from core.models import RunStatus, SyncTrigger

SCHEDULED, WEBHOOK, SUCCEEDED = SyncTrigger.SCHEDULED, SyncTrigger.WEBHOOK, RunStatus.SUCCEEDED


async def rows(world):
    return await world.sql("SELECT count(*), count(DISTINCT transaction_id) FROM transactions WHERE removed_at IS NULL")


async def test_1_two_syncs_at_once_duplicate_rows(world, item):
    """monetr PR 1865."""
    outcomes = await asyncio.gather(*(world.sync(item, SCHEDULED) for _ in range(8)))
    assert [one.status for one in outcomes].count(SUCCEEDED) == 1
    assert await rows(world) == [(30, 30)]
    await world.check(item)


async def test_2_pending_and_posted_are_both_shown(world, item):
    """firefly-plaid-connector-2 issue 110."""
    await world.evolve(item, added=30)
    await world.sync(item)
    for order in ("removed_last", "removed_first", None):
        await world.evolve(item, added=6, posted=5, split=order)
        await world.sync(item)
        pending = "transactions AS pending JOIN transactions AS posted USING (item_id)"
        both = "posted.pending_transaction_id = pending.transaction_id AND pending.removed_at IS NULL"
        assert await world.sql(f"SELECT 1 FROM {pending} WHERE {both} AND posted.removed_at IS NULL") == []
        await world.check(item)


async def test_3_removed_rows_stay(world, item):
    """mbafford/plaid-sync issue 6."""
    await world.sync(item)
    await world.evolve(item, removed=12)
    await world.sync(item)
    assert await rows(world) == [(18, 18)]
    assert await world.sql("SELECT count(*) FROM transactions WHERE removed_at IS NOT NULL") == [(12,)]
    await world.check(item)


async def test_4_the_cursor_is_stuck_on_a_mutation(world, item):
    """monetr PR 3126: an Item that answers so to its stored, final cursor, for ever."""
    await world.sync(item)
    await world.evolve(item, added=4, removed=4)
    await world.fault(item, "sticky_mutation")
    assert (await world.sync(item, SCHEDULED)).status is SUCCEEDED
    await world.check(item)


async def test_5_cursor_not_associated_with_access_token(world):
    """webhookdb issue 646."""
    item, other = await world.link(count=2, transactions=10)
    await world.sync(item)
    await world.sync(other)
    await world.sql("UPDATE plaid_items SET cursor = (SELECT max(cursor) FROM plaid_items)")
    await world.evolve(item, removed=3)
    await world.evolve(other, removed=3)
    for one in (item, other):
        assert (await world.sync(one, SCHEDULED)).status is SUCCEEDED
    await world.check(item, other)


async def test_6_a_missed_webhook_and_no_fallback(world, item):
    """bigcapital issues 1111 and 1471: the schedule looks as well."""
    await world.sync(item)
    await world.evolve(item, added=3)
    assert await world.tick() == []
    await world.sql("UPDATE plaid_items SET next_sync_at = next_sync_at - interval '5 hours'")
    assert await world.tick() == [(item.id, SCHEDULED)]
    await world.sync(item, SCHEDULED)
    await world.check(item)


async def test_7_reauthorised_and_the_status_is_still_broken(world, item):
    """sure issue 3318: also when LOGIN_REPAIRED never came, and a person asks."""
    await world.sync(item)
    await world.control("items/fail", item_id=item.plaid_item_id, announce=False)
    await world.sync(item)
    assert await world.one(item, "status") == ("needs_reauth",)
    await world.control("items/repair", item_id=item.plaid_item_id, announce=False)
    await world.sync(item)
    assert await world.one(item, "status, error_type, error_code") == ("active", None, None)
    await world.check(item)


async def test_8_syncs_fail_silently_for_weeks(world, item):
    """opencollective issue 7615: each failure is a run, an event and the Item's own state, and ends in `error`."""
    await world.fault(item, "error", error_code="PRODUCTS_NOT_SUPPORTED", times=None)
    for _ in range(20):
        await world.sync(item, SCHEDULED)
    assert await world.sql("SELECT status, error_code, count(*) FROM sync_runs GROUP BY 1, 2") == [
        ("failed", "PRODUCTS_NOT_SUPPORTED", 20)
    ]
    failed = "SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:item:sync_failed'"
    assert await world.sql(failed) == [(20,)]
    assert await world.one(item, "status, error_code") == ("error", "PRODUCTS_NOT_SUPPORTED")


async def test_9_syncing_for_ever_after_a_worker_restart(world, item):
    """maybe issue 2015: the run of a worker that died is closed, and its Item comes at once."""
    await world.sync(item)
    dead = "INSERT INTO sync_runs (id, item_id, trigger, status, started_at) VALUES "
    when = "(gen_random_uuid(), :id, 'scheduled', 'running', now() - interval '2 minutes')"
    await world.sql(dead + when, id=item.id)
    await world.evolve(item, added=2)
    assert await world.tick() == [(item.id, SCHEDULED)]
    assert await world.sql("SELECT error_code FROM sync_runs WHERE status = 'failed'") == [("WORKER_LOST",)]
    await world.sync(item, SCHEDULED)
    await world.check(item)


async def test_10_rate_limits(world, item):
    """OCA/bank-statement-import issue 881: refused, the Item waits and comes again; nothing is half there."""
    await world.control("limits", budgets={"/transactions/sync": {"item": 1, "client": 1000}}, minute_seconds=60)
    await world.sync(item)
    await world.evolve(item, added=2)
    outcome = await world.sync(item)
    await world.control("limits", enforce=False)
    assert (outcome.error_code, outcome.verdict) == ("TRANSACTIONS_SYNC_LIMIT", "retry_later")
    assert await world.one(item, "status, next_sync_at > now()") == ("active", True)
    await world.resources.redis.flushdb()
    assert (await world.sync(item)).status is SUCCEEDED
    await world.check(item)


async def test_12_a_manual_sync_says_success_and_the_data_are_stale(world, item):
    """sure issue 3204: what was asked for during a sync is answered by one more."""
    fault = await world.fault(item, "hold", phase="response")
    syncing = world.start(item, SCHEDULED)
    await world.control("held", fault_id=fault)
    await world.evolve(item, added=3)
    assert (await world.sync(item, SyncTrigger.MANUAL)).error_code == "LOCK_NOT_FREE"
    await world.control("release", fault_id=fault)
    await syncing
    assert world.outbox.take() == [(item.id, WEBHOOK)]
    await world.sync(item, WEBHOOK)
    await world.check(item)


async def test_13_balances_are_not_updated(world, item):
    """bigcapital issue 1460: they come along with the transactions that moved them."""
    await world.sync(item)
    before = await world.sql("SELECT account_id, balance_current FROM accounts ORDER BY 1")
    await world.evolve(item, added=20)
    await world.sync(item)
    truth = (await world.control("ledger", item_id=item.plaid_item_id))["accounts"]
    stored = await world.sql("SELECT account_id, balance_current FROM accounts ORDER BY 1")
    told = sorted((one["account_id"], Decimal(str(one["balances"]["current"]))) for one in truth)
    assert stored == told
    assert stored != before


async def test_twelve_thousand_transactions_come_in_one_commit(world):
    """A large Item is staged, page by page, and then moved; what was removed meanwhile goes with it."""
    (item,) = await world.link(transactions=12_000)
    await world.fault(item, "evolve", page="middle", added=5, removed=40, posted=10, after=3)
    assert (await world.sync(item, SyncTrigger.BACKFILL)).status is SUCCEEDED
    assert await world.sql("SELECT pages >= 24, restarts FROM sync_runs") == [(True, 1)]
    await world.check(item)
    await world.evolve(item, modified=300, removed=300)
    await world.sync(item)
    await world.check(item)
