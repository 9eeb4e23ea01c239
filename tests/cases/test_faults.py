"""Every fault of the simulator that an engine can meet: what it does meanwhile, and that all is right afterwards."""

import asyncio
from dataclasses import replace

import pytest

from core.byte_budget import ByteBudget
from core.identity import new_id
from core.models import RunStatus, SyncTrigger
from core.plaid.client import PlaidClient
from core.sync.staging import stage_pages
from core.sync.sync_item import sync_item

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
FAILED, SUCCEEDED = RunStatus.FAILED, RunStatus.SUCCEEDED


@pytest.fixture
def settings(settings):
    # Small pages, so that thirty transactions are a loop.
    return settings.model_copy(update={"sync_page_size": 10})


@pytest.fixture
async def known(world, item):
    """An Item that was synced once, and at whose bank things have moved on since."""
    assert (await world.sync(item)).status is SUCCEEDED
    await world.evolve(item, added=14, modified=5, removed=6, posted=4)
    return item


@pytest.mark.parametrize(
    ("fault", "run"),
    [
        ({"kind": "mutation"}, {"restarts": 1}),
        ({"kind": "mutation", "times": 3}, {"restarts": 3}),
        ({"kind": "evolve", "page": "middle", "added": 3, "removed": 3, "posted": 1}, {"restarts": 1}),
        ({"kind": "sticky_mutation"}, {"full_pull": True}),
        ({"kind": "foreign_cursor"}, {"full_pull": True}),
        ({"kind": "cursor_outdated"}, {"full_pull": True}),
        ({"kind": "empty_page", "times": 3}, {"restarts": 0}),
        ({"kind": "split", "order": "removed_last"}, {"restarts": 0}),
        ({"kind": "split", "order": "removed_first"}, {"restarts": 0}),
        ({"kind": "churn"}, {"full_pull": False}),
        ({"kind": "churn", "keep_transaction_ids": True}, {"full_pull": False}),
        ({"kind": "error", "error_code": "INTERNAL_SERVER_ERROR", "times": 2}, {"restarts": 0}),
        ({"kind": "error", "error_code": "PLANNED_MAINTENANCE", "page": "middle"}, {"restarts": 0}),
        ({"kind": "html"}, {"restarts": 0}),
        ({"kind": "cut"}, {"restarts": 0}),
        ({"kind": "cut", "phase": "response", "bytes": 300, "page": "middle"}, {"restarts": 0}),
        ({"kind": "delay", "ms": 5, "times": None}, {"restarts": 0}),
    ],
    ids=lambda one: "-".join(str(value) for value in one.values()),
)
async def test_a_fault_that_a_sync_gets_over_by_itself(world, known, fault, run):
    await world.fault(known, **fault)
    assert (await world.sync(known)).status is SUCCEEDED
    ((column, value),) = run.items()
    assert await world.sql(f"SELECT {column} FROM sync_runs ORDER BY id DESC LIMIT 1") == [(value,)]
    await world.sync(known)
    await world.check(known)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "mutation"}, MUTATION),
        ({"kind": "null_cursor"}, "PAGINATION_DOES_NOT_ADVANCE"),
        ({"kind": "patch", "set": {"next_cursor": None, "has_more": False}}, "CURSOR_MISSING"),
        ({"kind": "patch", "set": {"next_cursor": "", "has_more": False}}, "CURSOR_MISSING"),
        ({"kind": "stuck"}, "PAGINATION_DOES_NOT_ADVANCE"),
        ({"kind": "stuck", "empty": True}, "PAGINATION_DOES_NOT_ADVANCE"),
        ({"kind": "error", "error_code": "TRANSACTIONS_SYNC_LIMIT"}, "TRANSACTIONS_SYNC_LIMIT"),
        ({"kind": "error", "error_code": "RATE_LIMIT", "retry_after": 3}, "RATE_LIMIT"),
        ({"kind": "error", "error_code": "INTERNAL_SERVER_ERROR"}, "INTERNAL_SERVER_ERROR"),
        ({"kind": "html"}, "HTTP_502"),
        ({"kind": "html", "status": 200}, "MALFORMED_ANSWER"),
        ({"kind": "html", "status": 404}, "HTTP_404"),
        ({"kind": "body"}, "MALFORMED_ANSWER"),
        ({"kind": "body", "status": 503}, "HTTP_503"),
        ({"kind": "truncate", "bytes": 500}, "MALFORMED_ANSWER"),
        ({"kind": "patch", "remove": ["has_more"]}, "MALFORMED_ANSWER"),
        ({"kind": "patch", "set": {"added": "none"}}, "MALFORMED_ANSWER"),
        ({"kind": "cut"}, "CONNECTION_LOST"),
        ({"kind": "cut", "phase": "response", "bytes": 300}, "CONNECTION_LOST"),
    ],
    ids=lambda one: "-".join(str(value) for value in one.values()) if isinstance(one, dict) else one,
)
async def test_a_fault_that_lasts_fails_the_run_and_changes_nothing(world, known, fault, code):
    before = await world.drift(known)
    fault_id = await world.fault(known, **{"times": None} | fault)
    outcome = await world.sync(known)
    # A stored cursor that mutates for ever is given up for a full pull, which fails as well.
    assert (outcome.status, outcome.error_code) == (FAILED, code)
    assert await world.one(known, "version, status, consecutive_failures") == (1, "active", 1)
    assert await world.drift(known) == before
    await world.clear(fault_id)
    assert (await world.sync(known)).status is SUCCEEDED
    await world.check(known)


async def test_a_cursor_that_is_refused_again_within_a_day_is_the_operators_affair(world, known):
    await world.fault(known, "foreign_cursor")
    await world.sync(known)
    fault = await world.fault(known, "foreign_cursor", times=None)
    assert (await world.sync(known)).error_code == "CURSOR_REFUSED_AGAIN"
    await world.sql("UPDATE plaid_items SET full_pull_at = full_pull_at - interval '1 day'")
    await world.clear(fault)
    assert (await world.sync(known)).status is SUCCEEDED
    await world.check(known)


async def test_a_full_pull_of_a_history_that_is_not_ready_buries_nothing(world, known):
    (before,) = await world.sql("SELECT count(*) FROM transactions WHERE removed_at IS NULL")
    await world.fault(known, "foreign_cursor")
    lists = {"added": [], "modified": [], "removed": [], "accounts": [], "has_more": False}
    for told in ("NOT_READY", "INITIAL_UPDATE_COMPLETE"):
        answer = lists | {"transactions_update_status": told, "next_cursor": "" if told == "NOT_READY" else "c"}
        # The first request is refused for its cursor, the second one is the full pull.
        fault = await world.fault(known, "patch", after=1, times=1, set=answer)
        assert (await world.sync(known)).error_code == "HISTORY_INCOMPLETE"
        assert await world.sql("SELECT count(*) FROM transactions WHERE removed_at IS NULL") == [before]
        await world.clear(fault)
        await world.fault(known, "foreign_cursor")
    assert (await world.sync(known)).status is SUCCEEDED
    await world.check(known)


@pytest.mark.parametrize("value", [None, ""])
async def test_an_item_whose_history_is_not_ready_is_looked_at_again_soon(world, value):
    (item,) = await world.link(status="NOT_READY", transactions=20)
    await world.fault(item, "null_cursor", value=value)
    assert (await world.sync(item)).status is SUCCEEDED
    cursor, soon = await world.one(item, "cursor, next_sync_at < now() + interval '5 minutes'")
    assert (cursor, soon) == (None, True)
    for told in ("INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"):
        await world.control("extract", item_ids=[item.plaid_item_id])
        await world.sync(item)
        assert await world.one(item, "update_status") == (told,)
    await world.check(item)


@pytest.mark.parametrize(
    "spoilt",
    [{"set": {"amount": "a lot"}}, {"set": {"date": None}}, {"remove": ["account_id"]}, {"set": {"pending": 1}}],
)
async def test_one_malformed_transaction_waits_in_quarantine_until_it_is_told_well(world, known, spoilt):
    fault = await world.fault(known, "malformed_transaction", **spoilt)
    assert (await world.sync(known)).status is SUCCEEDED
    assert len(await world.drift(known)) == 1
    assert await world.sql("SELECT quarantined FROM sync_runs ORDER BY id DESC LIMIT 1") == [(1,)]
    await world.clear(fault)
    await world.fault(known, "foreign_cursor")
    await world.sync(known)
    await world.check(known)


async def test_unknown_fields_and_values_pass(world, known):
    await world.fault(known, "unknown_values", times=None)
    assert (await world.sync(known)).status is SUCCEEDED
    assert await world.sql("SELECT quarantined FROM sync_runs ORDER BY id DESC LIMIT 1") == [(0,)]
    assert await world.sql("SELECT DISTINCT type FROM accounts") == [("type_of_tomorrow",)]


async def test_what_changes_after_the_cursor_now_comes_as_added_and_is_an_update(world, known):
    """Who comes from /transactions/get has rows and takes the cursor `now`: Plaid then tells old ones as new."""
    await world.sync(known)
    keys = {"client_id": "sandbox-client", "secret": "sandbox-secret"}
    asked = {"access_token": known.access_token, "cursor": "now"}
    now = (await world.http.post("/transactions/sync", json=asked | keys)).json()["next_cursor"]
    await world.sql("UPDATE plaid_items SET cursor = :now", now=now)
    await world.evolve(known, modified=6)
    assert (await world.sync(known)).status is SUCCEEDED
    assert await world.sql("SELECT added, modified FROM sync_runs ORDER BY id DESC LIMIT 1") == [(6, 0)]
    await world.check(known)


async def test_an_answer_that_never_comes_ends_by_the_time_out(world, known, settings):
    client = PlaidClient(settings.model_copy(update={"plaid_timeout_seconds": 0.3}), "sandbox-secret")
    fault = await world.fault(known, "hold", times=None)
    outcome = await sync_item(replace(world.resources, plaid=client), known.id, SyncTrigger.SCHEDULED)
    await client.aclose()
    assert (outcome.status, outcome.error_code) == (FAILED, "TIMED_OUT")
    await world.clear(fault)
    assert (await world.sync(known)).status is SUCCEEDED
    await world.check(known)


async def test_pages_that_find_room_only_one_by_one_are_all_read(world, known, settings, monkeypatch):
    monkeypatch.setattr("core.plaid.client.LARGE_BYTES", 0)
    memory = ByteBudget(1)
    client = PlaidClient(settings, "sandbox-secret", memory)
    resources = replace(world.resources, plaid=client, memory=memory)
    await world.evolve(known, added=12)
    async with memory.held(1):
        syncing = asyncio.create_task(sync_item(resources, known.id, SyncTrigger.SCHEDULED))
        assert not (await asyncio.wait([syncing], timeout=0.2))[0]
    assert (await syncing).status is SUCCEEDED
    await client.aclose()
    await world.check(known)


async def test_an_item_that_is_removed_between_two_pages_is_revoked_and_keeps_its_rows(world, known):
    (before,) = await world.sql("SELECT count(*) FROM transactions")
    await world.fault(known, "remove_item", page="middle")
    assert (await world.sync(known)).error_code == "ITEM_NOT_FOUND"
    assert await world.one(known, "status, version, next_sync_at") == ("revoked", 1, None)
    assert await world.sql("SELECT count(*) FROM transactions") == [before]


async def test_an_item_that_we_remove_while_it_syncs_is_not_brought_back(world, known):
    fault = await world.fault(known, "hold", phase="response")
    syncing = asyncio.create_task(world.sync(known))
    await world.control("held", fault_id=fault)
    await world.sql("UPDATE plaid_items SET status = 'removed', next_sync_at = NULL")
    await world.control("release", fault_id=fault)
    assert (await syncing).error_code == "VERSION_CONFLICT"
    assert await world.one(known, "status, version, next_sync_at") == ("removed", 1, None)


async def test_a_replaced_token_is_gone_and_its_item_with_it_until_it_is_relinked(world, known):
    await world.http.post(
        "/item/access_token/invalidate",
        json={"access_token": known.access_token, "client_id": "sandbox-client", "secret": "sandbox-secret"},
    )
    assert (await world.sync(known)).error_code == "ITEM_NOT_FOUND"
    assert await world.one(known, "status, version") == ("revoked", 1)


async def test_staged_rows_that_get_lost_on_the_way_stop_the_commit(world, item, monkeypatch):
    """The sweep took the run for lost, or PostgreSQL restarted, between the first staged page and the last."""

    async def stage_and_lose(*given):
        staged = await stage_pages(*given)
        some = "SELECT transaction_id FROM staged_transactions LIMIT 10"
        await world.sql(f"DELETE FROM staged_transactions WHERE transaction_id IN ({some})")
        return staged

    monkeypatch.setattr("core.sync.commit.STAGED_PAGES", 1)
    with monkeypatch.context() as patch:
        patch.setattr("core.sync.commit.stage_pages", stage_and_lose)
        assert (await world.sync(item)).error_code == "STAGED_ROWS_LOST"
    assert await world.one(item, "version, cursor") == (0, None)
    assert (await world.sync(item)).status is SUCCEEDED
    await world.check(item)


async def test_staged_rows_of_a_run_that_is_over_are_cleaned_up_and_no_others(world, item, monkeypatch):
    """The worker died between its commit and the clean-up."""
    monkeypatch.setattr("core.sync.commit.STAGED_PAGES", 1)
    with monkeypatch.context() as patch:
        patch.setattr("core.sync.commit.unstage", lambda *_: asyncio.sleep(0))
        assert (await world.sync(item)).status is SUCCEEDED
    left = "SELECT run_id FROM staged_transactions GROUP BY run_id"
    ((run_id,),) = await world.sql(left)
    copied = "INSERT INTO staged_transactions (run_id, transaction_id, gone) VALUES (:r, 't', true)"
    running = (
        "INSERT INTO sync_runs (id, item_id, trigger, status, started_at) VALUES (:r, :i, 'manual', 'running', now())"
    )
    others = [new_id(), new_id()]
    for other in others:
        await world.sql(copied, r=other)
    await world.sql(running, r=others[0], i=item.id)
    assert run_id not in others
    await world.tick()
    assert await world.sql(left) == [(others[0],)]
