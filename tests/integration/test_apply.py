"""What becomes of each way in which Plaid can tell a change."""

import json
import tracemalloc
from dataclasses import replace

import pytest
from sqlalchemy import text

from core.errors import OperatorMustActError, RestartFromEmptyCursorError, RestartPaginationError
from core.items.registration import NewItem, register_items
from core.models import QuarantinedTransaction, RunStatus, SyncTrigger
from core.plaid.schemas import decode_page
from core.sync import commit
from core.sync.pages import Pages
from core.sync.quarantine import sift
from core.sync.sync_item import sync_item
from tests.integration.plaid_script import PlaidScript, page, transaction

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
FOREIGN = "INVALID_FIELD"


@pytest.fixture
async def item_id(resources):
    (registered,) = await register_items(resources.database, [NewItem("u1", "itm1", "access-sandbox-1")], "o:t")
    return registered


@pytest.fixture(params=["in turn", "staged"])
def way(request, monkeypatch):
    """Small and large updates are written in two ways, and every promise holds for both."""
    if request.param == "staged":
        monkeypatch.setattr(commit, "STAGED_PAGES", 0)


async def execute(resources, statement):
    async with resources.database.connection() as connection:
        return (await connection.execute(text(statement))).all()


async def execute_ddl(resources, *statements):
    async with resources.database.connection() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def standing(resources):
    rows = await execute(resources, "SELECT transaction_id FROM transactions WHERE removed_at IS NULL ORDER BY 1")
    return "".join(row.transaction_id for row in rows)


async def sync(resources, item_id, *answers):
    script = PlaidScript(*answers)
    outcome = await sync_item(replace(resources, plaid=script), item_id, SyncTrigger.SCHEDULED)
    assert not script._answers
    return outcome


POSTED = transaction("p", pending_transaction_id="q")
PENDING = transaction("q", pending=True)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("pages", "stands"),
    [
        ([page([transaction("a")]), page(removed=["a"])], ""),
        ([page([transaction("a")]), page(removed=["a"]), page([transaction("a")])], "a"),
        ([page(removed=["a"]), page([transaction("a")])], "a"),
        ([page([transaction("a")], removed=["a"])], ""),
        ([page(removed=["unknown"])], ""),
        ([page([transaction("a"), transaction("a", amount=2)], [transaction("a", amount=3)])], "a"),
        ([page(modified=[transaction("m")])], "m"),
        ([page([PENDING]), page([POSTED], removed=["q"])], "p"),
        ([page([PENDING]), page([POSTED])], "p"),
        ([page([POSTED]), page([PENDING])], "p"),
        ([page([POSTED, PENDING])], "p"),
        ([page([PENDING]), page([POSTED]), page([PENDING], removed=["p"])], "q"),
        ([page([transaction("a")]), page(modified=[transaction("a", account_id="acc2")])], "a"),
        ([page(), page([transaction("a")]), page()], "a"),
    ],
    ids=[
        "removed in a later page",
        "comes back",
        "removed before it is added",
        "added and removed at once",
        "removed, never known",
        "told three times",
        "modified, never known",
        "pending to posted",
        "posted, removal not told",
        "posted before its pending one",
        "both at once",
        "the posted one goes, the pending one comes back",
        "moved to another account",
        "empty pages between",
    ],
)
async def test_a_story_told_page_by_page_or_sync_by_sync_ends_the_same(resources, item_id, pages, stands):
    told = [json.loads(one) | {"next_cursor": f"c{number}"} for number, one in enumerate(pages)]
    in_one = [one | {"has_more": one is not told[-1]} for one in told]
    assert (await sync(resources, item_id, *(json.dumps(one).encode() for one in in_one))).error_code is None
    assert await standing(resources) == stands
    await execute_write(resources, "DELETE FROM transactions")
    await execute_write(resources, "UPDATE plaid_items SET cursor = NULL")
    for one in told:
        assert (await sync(resources, item_id, json.dumps(one).encode())).error_code is None
    assert await standing(resources) == stands


async def execute_write(resources, statement):
    async with resources.database.connection() as connection:
        await connection.execute(text(statement))


@pytest.mark.usefixtures("way")
async def test_an_account_that_changed_moves_the_transaction_and_the_last_word_counts(resources, item_id):
    first = page([transaction("a"), transaction("a", amount=2)], [transaction("a", amount=3)], next_cursor="c1")
    await sync(resources, item_id, first)
    second = page(modified=[transaction("a", account_id="acc2", amount=1234567890.123456789012345678)])
    await sync(resources, item_id, second.replace(b"1234567890.1234567", b"1234567890.1234567890123456789"))
    (row,) = await execute(resources, "SELECT account_id, amount::text FROM transactions")
    assert tuple(row) == ("acc2", "1234567890.1234567890123456789")


@pytest.mark.usefixtures("way")
async def test_unknown_fields_and_values_pass(resources, item_id):
    odd = transaction("a", payment_channel="by pigeon", brand_new={"deep": [1]}, personal_finance_category=None)
    body = json.loads(page([odd])) | {"brand_new": True, "transactions_update_status": "BRAND_NEW"}
    assert (await sync(resources, item_id, json.dumps(body).encode())).status is RunStatus.SUCCEEDED
    assert await standing(resources) == "a"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("spoilt", "place"),
    [
        ({"amount": "12.34"}, "added"),
        ({"amount": None}, "added"),
        ({"date": "2026-02-30"}, "added"),
        ({"transaction_id": ""}, "added"),
        ({"transaction_id": "x" * 600}, "added"),
        ({"pending": "no"}, "added"),
        ({"account_id": 7}, "added"),
        ({"running_balance": "plenty"}, "added"),
        ({"authorized_datetime": "yesterday"}, "modified"),
    ],
    ids=str,
)
async def test_one_malformed_transaction_costs_that_one_alone(resources, item_id, spoilt, place):
    bad = transaction("bad") | spoilt
    lists = {place: [transaction("a"), bad, transaction("b")]}
    assert (await sync(resources, item_id, page(**lists, next_cursor="c1"))).status is RunStatus.SUCCEEDED
    assert await standing(resources) == "ab"
    (kept,) = await execute(resources, "SELECT place, body FROM quarantined_transactions")
    assert kept.place == place
    assert kept.body.startswith("sealed:v1:")
    assert await execute(resources, "SELECT quarantined, pages FROM sync_runs") == [(1, 1)]
    async with resources.database.transaction() as session:
        row = (await session.execute(text("SELECT id FROM quarantined_transactions"))).scalar_one()
        opened = (await session.get(QuarantinedTransaction, row)).body
    assert json.loads(opened.replace("\N{REPLACEMENT CHARACTER}", "?"))["account_id"] in {"acc1", 7}


async def test_characters_that_no_text_can_hold_are_replaced_and_the_row_is_kept(resources, item_id):
    odd = [
        transaction("a", name="nul \0, half \ud800, half \udc00, whole \U0001f600"),
        transaction("b", name="\\ud800"),
    ]
    assert (await sync(resources, item_id, page(odd))).status is RunStatus.SUCCEEDED
    names = await execute(resources, "SELECT name FROM transactions ORDER BY transaction_id")
    assert names == [("nul \ufffd, half \ufffd, half \ufffd, whole \U0001f600",), ("\\ud800",)]


async def test_the_same_malformed_transaction_is_kept_once(resources, item_id):
    bad = page([transaction("a", amount=None)])
    await sync(resources, item_id, bad)
    await sync(resources, item_id, bad)
    assert await execute(resources, "SELECT count(*) FROM quarantined_transactions") == [(1,)]


async def test_a_cursor_of_another_item_leads_to_one_full_pull_that_buries_what_vanished(resources, item_id):
    await sync(resources, item_id, page([transaction("a"), transaction("b")], next_cursor="f1"))
    refused = RestartFromEmptyCursorError(FOREIGN, error_type="INVALID_REQUEST")
    everything = page([transaction("b"), transaction("c")], next_cursor="f2")
    assert (await sync(resources, item_id, refused, everything)).status is RunStatus.SUCCEEDED
    assert await standing(resources) == "bc"
    assert await execute(resources, "SELECT cursor, version FROM plaid_items") == [("f2", 2)]
    assert await execute(resources, "SELECT full_pull FROM sync_runs ORDER BY id") == [(False,), (True,)]
    again = await sync(resources, item_id, refused)
    assert (again.status, again.error_code) == (RunStatus.FAILED, "CURSOR_REFUSED_AGAIN")
    assert again.verdict is OperatorMustActError.verdict


async def test_a_stored_cursor_that_mutates_for_ever_leads_to_one_full_pull(resources, item_id, monkeypatch):
    monkeypatch.setattr("core.sync.pages.RESTART_SECONDS", 0)
    await sync(resources, item_id, page([transaction("a")], next_cursor="f1"))
    sticky = [RestartPaginationError(MUTATION)] * 6
    assert (await sync(resources, item_id, *sticky, page([transaction("b")]))).status is RunStatus.SUCCEEDED
    assert await standing(resources) == "b"


async def test_mutations_without_end_from_the_start_are_tried_again_later(resources, item_id, monkeypatch):
    monkeypatch.setattr("core.sync.pages.RESTART_SECONDS", 0)
    outcome = await sync(resources, item_id, *[RestartPaginationError(MUTATION)] * 6)
    assert (outcome.status, outcome.error_code, outcome.verdict) == (RunStatus.FAILED, MUTATION, "retry_later")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"added": [', b'{"added": NaN}', b"\xff\xfe", b"{}"]
)
async def test_an_answer_that_is_no_page_fails_the_run_and_changes_nothing(resources, item_id, body):
    outcome = await sync(resources, item_id, body)
    assert (outcome.error_code, outcome.verdict) == ("MALFORMED_ANSWER", "retry_later")
    assert await execute(resources, "SELECT cursor, version, status FROM plaid_items") == [(None, 0, "active")]


async def test_an_unstorable_entry_of_a_large_update_is_found_without_holding_all_of_it(resources):
    with Pages() as pages:
        for number in range(20):
            long = transaction(f"t{number}", name="x" * 1_000_000)
            bad = [transaction("u", running_balance="plenty")] if number == 19 else []
            pages.append(*decode_page(page([long, *bad]))[1::-1])
        tracemalloc.start()
        await sift(resources.database, pages)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (pages.kept, len(pages.rejected)) == (20, 1)
        assert peak < pages.bytes / 2


async def test_rows_that_cannot_be_cleared_away_leave_a_commit_what_it_is(resources, item_id, monkeypatch):
    monkeypatch.setattr(commit, "STAGED_PAGES", 0)
    await execute_ddl(
        resources,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'",
        "CREATE TRIGGER refuse BEFORE DELETE ON staged_transactions FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    assert (await sync(resources, item_id, page([transaction("a")]))).status is RunStatus.SUCCEEDED
    assert await standing(resources) == "a"


async def test_an_account_that_was_taken_back_stays_so_whatever_a_page_tells(resources, item_id):
    account = {"account_id": "acc1", "name": "Checking", "type": "depository", "balances": {}}
    await sync(resources, item_id, page(accounts=[account]))
    await execute_ddl(resources, "UPDATE accounts SET revoked_at = now()")
    await sync(resources, item_id, page(accounts=[{**account, "name": "Cheque", "revoked_at": None}]))
    assert await execute(resources, "SELECT name, revoked_at IS NULL FROM accounts") == [("Cheque", False)]
