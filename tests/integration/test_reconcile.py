"""Drift is found, told apart from what is only new, and repaired without losing history."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from core.errors import LockNotAcquiredError, RestartFromEmptyCursorError
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.sync.reconcile import Difference, reconcile
from core.sync.sync_item import sync_item
from tests.integration.plaid_script import PlaidScript, page, transaction

FOUR = [transaction(name) for name in "abcd"]


@pytest.fixture
async def item_id(resources):
    (registered,) = await register_items(resources.database, [NewItem("u1", "itm1", "access-sandbox-1")], "o:t")
    await sync_item(replace(resources, plaid=PlaidScript(page(FOUR, next_cursor="f1"))), registered, SyncTrigger.MANUAL)
    return registered


async def execute(resources, statement):
    async with resources.database.connection() as connection:
        return await connection.execute(text(statement))


async def standing(resources):
    found = await execute(resources, "SELECT transaction_id, amount FROM transactions WHERE removed_at IS NULL")
    return {row.transaction_id: float(row.amount) for row in found}


async def run(resources, item_id, everything, since=None, *, repair=False):
    script = PlaidScript(everything, since or page(next_cursor="f1"))
    return await reconcile(replace(resources, plaid=script), item_id, repair=repair)


async def harm(resources):
    await execute(resources, "DELETE FROM transactions WHERE transaction_id = 'a'")
    await execute(resources, "UPDATE transactions SET amount = 1, name = 'x' WHERE transaction_id = 'b'")
    await execute(resources, "UPDATE transactions SET transaction_id = 'ghost' WHERE transaction_id = 'c'")


async def test_rows_that_agree_are_no_drift(resources, item_id):
    drift = await run(resources, item_id, page(FOUR, next_cursor="f2"))
    assert (drift.compared, drift.differences, drift.repaired) == (4, (), False)


async def test_each_kind_of_drift_is_named_and_nothing_is_changed_unasked(resources, item_id):
    await harm(resources)
    before = await standing(resources)
    drift = await run(resources, item_id, page(FOUR, next_cursor="f2"))
    assert drift.differences == (
        Difference("a", "missing"),
        Difference("b", "changed", ("amount", "name")),
        Difference("c", "missing"),
        Difference("ghost", "extra"),
    )
    assert not drift.repaired
    assert await standing(resources) == before


async def test_a_repair_puts_the_rows_right_and_keeps_the_ghost_as_history(resources, item_id):
    await harm(resources)
    assert (await run(resources, item_id, page(FOUR, next_cursor="f2"), repair=True)).repaired
    assert await standing(resources) == dict.fromkeys("abcd", 12.34)
    ghost = await execute(resources, "SELECT removed_at FROM transactions WHERE transaction_id = 'ghost'")
    assert ghost.scalar_one() is not None
    item = (await execute(resources, "SELECT cursor, version FROM plaid_items")).one()
    assert tuple(item) == ("f2", 2)


async def test_what_changed_at_the_bank_since_the_cursor_is_no_drift(resources, item_id):
    since = page([transaction("new")], [transaction("b", amount=99)], ["d"], next_cursor="f2")
    now = page([transaction("a"), transaction("b", amount=99), transaction("c"), transaction("new")], next_cursor="f2")
    assert (await run(resources, item_id, now, since)).differences == ()


async def test_an_item_that_is_being_synced_is_left_alone(resources, item_id):
    lease = resources.lease(item_id)
    assert await lease.try_acquire()
    with pytest.raises(LockNotAcquiredError):
        await run(resources, item_id, page(FOUR))
    await lease.release()


@pytest.mark.parametrize("repair", [True, False])
async def test_a_cursor_that_plaid_refuses_is_replaced_by_a_repair(resources, item_id, repair):
    """What the advice for `CURSOR_REFUSED_AGAIN` leads to; nobody can tell then what moved since that cursor."""
    refused = RestartFromEmptyCursorError("INVALID_FIELD", error_type="INVALID_REQUEST")
    drift = await run(resources, item_id, page(FOUR, next_cursor="f2"), refused, repair=repair)
    assert (drift.compared, drift.differences, drift.repaired) == (4, (), repair)
    (row,) = (await execute(resources, "SELECT cursor, error_code FROM plaid_items")).all()
    assert tuple(row) == ("f2" if repair else "f1", None)


async def test_all_that_differs_is_drift_when_the_cursor_is_refused(resources, item_id):
    refused = RestartFromEmptyCursorError("INVALID_FIELD", error_type="INVALID_REQUEST")
    await harm(resources)
    drift = await run(resources, item_id, page(FOUR, next_cursor="f2"), refused, repair=True)
    assert (len(drift.differences), drift.repaired) == (4, True)
    assert await standing(resources) == dict.fromkeys("abcd", 12.34)
