"""The line, on the real PostgreSQL and Redis."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core.errors import (
    ItemIsGoneError,
    NotFoundError,
    OperatorMustActError,
    RestartPaginationError,
    SyncError,
    UserMustActError,
)
from core.items.registration import NewItem, register_items
from core.models import RunStatus, SyncTrigger
from core.resources import Resources
from core.sync.sync_item import sync_item
from tests.integration.plaid_script import PlaidScript, page, transaction

TOKEN = "access-sandbox-5f0c"
MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


@pytest.fixture
async def item_id(resources: Resources) -> UUID:
    """A registered Item that was never synced."""
    (registered,) = await register_items(resources.database, [NewItem("u1", "itm1", TOKEN)], "operator:test")
    return registered


async def rows(resources: Resources, statement: str) -> list[dict[str, Any]]:
    """Return what a statement finds."""
    async with resources.database.connection() as connection:
        return [dict(row._mapping) for row in await connection.execute(text(statement))]


async def sync(resources: Resources, item_id: UUID, script: PlaidScript) -> RunStatus:
    """Sync against a script and return the outcome's status."""
    outcome = await sync_item(replace(resources, plaid=script), item_id, SyncTrigger.SCHEDULED)  # type: ignore[arg-type]
    return outcome.status


async def test_added_modified_and_removed_over_several_pages(resources: Resources, item_id: UUID) -> None:
    script = PlaidScript(
        page([transaction("a"), transaction("b", amount=0.1)], next_cursor="m1", has_more=True),
        page([transaction("c")], [transaction("a", amount=1234567.123456789)], ["b"], next_cursor="f1"),
    )
    assert await sync(resources, item_id, script) is RunStatus.SUCCEEDED
    assert script.asked == [(TOKEN, None), (TOKEN, "m1")]
    stored = await rows(
        resources, "SELECT transaction_id, amount FROM transactions WHERE removed_at IS NULL ORDER BY 1"
    )
    assert stored == [
        {"transaction_id": "a", "amount": Decimal("1234567.123456789")},
        {"transaction_id": "c", "amount": Decimal("12.34")},
    ]
    assert await rows(resources, "SELECT cursor, version, status FROM plaid_items") == [
        {"cursor": "f1", "version": 1, "status": "active"}
    ]
    assert await rows(
        resources, "SELECT status, pages, added, modified, removed, committed_version FROM sync_runs"
    ) == [{"status": "succeeded", "pages": 2, "added": 3, "modified": 1, "removed": 1, "committed_version": 1}]


async def test_a_removed_row_that_comes_back_stands_again(resources: Resources, item_id: UUID) -> None:
    script = PlaidScript(page([transaction("a")]), page(removed=["a"]), page([transaction("a")]))
    standing = []
    for _ in range(3):
        await sync(resources, item_id, script)
        standing += await rows(resources, "SELECT count(*) FROM transactions WHERE removed_at IS NULL")
    assert standing == [{"count": 1}, {"count": 0}, {"count": 1}]


async def test_within_a_page_the_later_of_two_equal_ids_and_modified_win(resources: Resources, item_id: UUID) -> None:
    twice = [transaction("a", amount=1), transaction("a", amount=2), transaction("b", amount=1)]
    await sync(resources, item_id, PlaidScript(page(twice, [transaction("b", amount=3)])))
    stored = await rows(resources, "SELECT transaction_id, amount::int FROM transactions ORDER BY 1")
    assert stored == [{"transaction_id": "a", "amount": 2}, {"transaction_id": "b", "amount": 3}]


async def test_accounts_come_along_with_their_balances(resources: Resources, item_id: UUID) -> None:
    balances = {"available": 90.5, "current": 100, "limit": None, "iso_currency_code": "USD"}
    account = {"account_id": "acc1", "name": "Checking", "type": "depository", "mask": "0000", "balances": balances}
    await sync(resources, item_id, PlaidScript(page([transaction("a")], accounts=[account])))
    found = await rows(resources, "SELECT balance_available, balance_limit, iso_currency_code FROM accounts")
    assert found == [{"balance_available": Decimal("90.5"), "balance_limit": None, "iso_currency_code": "USD"}]


async def test_a_mutation_throws_the_pages_away_and_begins_at_the_first_cursor(
    resources: Resources, item_id: UUID
) -> None:
    script = PlaidScript(
        page([transaction("thrown away")], next_cursor="m1", has_more=True),
        RestartPaginationError(MUTATION),
        page([transaction("a")], next_cursor="f1"),
    )
    assert await sync(resources, item_id, script) is RunStatus.SUCCEEDED
    assert [cursor for _, cursor in script.asked] == [None, "m1", None]
    assert await rows(resources, "SELECT transaction_id FROM transactions") == [{"transaction_id": "a"}]
    assert await rows(resources, "SELECT restarts FROM sync_runs") == [{"restarts": 1}]


@pytest.mark.parametrize("empty", ["", None])
async def test_no_cursor_never_overwrites_a_good_one(resources: Resources, item_id: UUID, empty: str | None) -> None:
    await sync(resources, item_id, PlaidScript(page([transaction("a")], next_cursor="good")))
    await sync(resources, item_id, PlaidScript(page(next_cursor=empty)))
    assert await rows(resources, "SELECT cursor, version FROM plaid_items") == [{"cursor": "good", "version": 2}]


async def test_a_loop_that_does_not_advance_stops_and_writes_nothing(resources: Resources, item_id: UUID) -> None:
    script = PlaidScript(
        page([transaction("a")], next_cursor="m1", has_more=True), page(next_cursor="m1", has_more=True)
    )
    assert await sync(resources, item_id, script) is RunStatus.FAILED
    assert await rows(resources, "SELECT error_code FROM sync_runs") == [{"error_code": "PAGINATION_DOES_NOT_ADVANCE"}]
    assert await rows(resources, "SELECT 1 FROM transactions") == []


@pytest.mark.parametrize(
    ("error", "status", "looks_again"),
    [
        (UserMustActError("ITEM_LOGIN_REQUIRED", error_type="ITEM_ERROR"), "needs_reauth", False),
        (ItemIsGoneError("ITEM_NOT_FOUND", error_type="ITEM_ERROR"), "revoked", False),
        (OperatorMustActError("INVALID_API_KEYS", error_type="INVALID_INPUT"), "active", True),
    ],
)
async def test_a_failure_is_kept_with_its_verdict(
    resources: Resources, item_id: UUID, error: SyncError, status: str, looks_again: bool
) -> None:
    assert await sync(resources, item_id, PlaidScript(error)) is RunStatus.FAILED
    found = await rows(
        resources,
        "SELECT status, error_type, error_code, version, next_sync_at > now() AS looks FROM plaid_items",
    )
    assert found == [
        {
            "status": status,
            "error_type": error.error_type,
            "error_code": error.error_code,
            "version": 0,
            "looks": True if looks_again else None,
        }
    ]
    assert await rows(resources, "SELECT status, error_code FROM sync_runs") == [
        {"status": "failed", "error_code": error.error_code}
    ]


async def test_rivals_without_a_lease_commit_once_for_each_version(resources: Resources, item_id: UUID) -> None:
    # Each rival has a lease of its own, which is what no lease at all comes to.
    lawless = replace(resources, lease=lambda _: resources.lease(uuid4()))
    scripts = [PlaidScript(page([transaction("a")], next_cursor="f1")) for _ in range(4)]
    outcomes = await asyncio.gather(*(sync(lawless, item_id, script) for script in scripts))
    (found,) = await rows(resources, "SELECT version, cursor FROM plaid_items")
    commits = outcomes.count(RunStatus.SUCCEEDED)
    assert found == {"version": commits, "cursor": "f1"}
    assert outcomes.count(RunStatus.SKIPPED) == len(scripts) - commits
    events = await rows(resources, "SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:item:synced'")
    assert events == [{"count": commits}]


async def test_a_taken_lease_skips_and_a_notice_left_sends_once_more(resources: Resources, item_id: UUID) -> None:
    lease = resources.lease(item_id)
    assert await lease.try_acquire()
    outcome = await sync_item(resources, item_id, SyncTrigger.WEBHOOK)
    assert (outcome.status, outcome.error_code) == (RunStatus.SKIPPED, "LOCK_NOT_FREE")
    await lease.release()
    assert lease.notice_left


async def test_the_token_is_sealed_and_its_decryption_recorded_before(resources: Resources, item_id: UUID) -> None:
    (sealed,) = await rows(resources, "SELECT plaid_access_token AS token FROM plaid_items")
    assert sealed["token"].startswith("sealed:v1:")
    await sync(resources, item_id, PlaidScript(UserMustActError("ITEM_LOGIN_REQUIRED")))
    recorded = await rows(resources, "SELECT event_type FROM audit_outbox ORDER BY id")
    assert [row["event_type"] for row in recorded] == [
        "operator:item:registered",
        "plaid:token:decrypted",
        "plaid:item:sync_failed",
    ]


async def test_an_unknown_item_is_named(resources: Resources) -> None:
    unknown = uuid4()
    with pytest.raises(NotFoundError, match=str(unknown)):
        await sync_item(resources, unknown, SyncTrigger.MANUAL)
