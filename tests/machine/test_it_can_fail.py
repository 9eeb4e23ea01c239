"""The engine, broken on purpose in one place at a time: the cases must find each break, or they are worth nothing.

A break is a patch of the engine; beside it stands the case that finds it, which passes while the engine is whole.
"""

import asyncio

import pytest

from core.items.token_rotation import rotate_access_token
from core.models import RunStatus, SyncTrigger
from tests.cases import test_coalescing, test_faults, test_pains
from tests.cases.conftest import bank_url, impatient, notice  # noqa: F401 - fixtures of the cases
from tests.cases.conftest import world as whole_world  # noqa: F401 - the same
from tests.faults import test_removed_while_replaced
from tests.integration.plaid_script import PlaidScript, page, transaction
from tests.machine import breaks
from tests.machine.fleet import replace, sync_item

SUCCEEDED, FULL_PULL = RunStatus.SUCCEEDED, {"kind": "foreign_cursor"}
EVOLVING = {"kind": "evolve", "page": "middle", "added": 3, "removed": 3, "posted": 1}


@pytest.fixture
def settings(settings, bank_url):  # noqa: F811
    # Small pages, so that thirty transactions are a loop.
    return settings.model_copy(update={"plaid_base_url": bank_url, "sync_page_size": 10})


@pytest.fixture
async def world(whole_world):  # noqa: F811
    """The world, which ends whatever a case that failed has left under way."""
    before = asyncio.all_tasks()
    yield whole_world
    await whole_world.control("release")
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    await asyncio.gather(*left, return_exceptions=True)
    breaks.forget_statements()


async def gets_over(world, item, fault):
    """Sync once, let the bank move on, and sync with a fault."""
    await world.sync(item)
    await world.evolve(item, added=14, modified=5, removed=6, posted=4)
    column, value = ("restarts", 1) if fault is EVOLVING else ("full_pull", True)
    await test_faults.test_a_fault_that_a_sync_gets_over_by_itself(world, item, fault, {column: value})


async def restarts_at_the_loops_first_cursor(world, item):
    await gets_over(world, item, EVOLVING)


async def buries_what_a_full_pull_does_not_name(world, item):
    await gets_over(world, item, FULL_PULL)


async def a_buried_row_that_is_told_again_stands(world, item):
    await world.sync(item)
    await world.sql("UPDATE transactions SET removed_at = now()")
    await world.fault(item, **FULL_PULL)
    await world.sync(item)
    await world.check(item)


async def an_answer_without_a_cursor_keeps_the_old_one(world, item):
    await world.sync(item)
    before = await world.one(item, "cursor")
    lists = {"added": [], "modified": [], "removed": [], "accounts": [], "has_more": False, "next_cursor": None}
    await world.fault(item, "patch", set=lists)
    assert (await world.sync(item)).status is SUCCEEDED
    assert await world.one(item, "cursor") == before != (None,)


async def told(world, item, *answers):
    """Sync an Item with answers that were written for it, and return what stands then."""
    for number, answer in enumerate(answers):
        body = page(next_cursor=f"c{number}", **answer)
        outcome = await sync_item(replace(world.resources, plaid=PlaidScript(body)), item.id, SyncTrigger.MANUAL)
        assert outcome.status is SUCCEEDED
    standing = "SELECT transaction_id FROM transactions WHERE item_id = :i AND removed_at IS NULL ORDER BY 1"
    return [name for (name,) in await world.sql(standing, i=item.id)]


async def a_posted_row_ends_the_pending_one_that_it_names(world, item):
    pending = transaction("pending", pending=True)
    posted = transaction("posted", pending_transaction_id="pending")
    assert await told(world, item, {"added": [pending]}, {"added": [posted]}) == ["posted"]


async def what_a_page_adds_and_removes_is_gone(world, item):
    answer = {"added": [transaction("both"), transaction("one")], "removed": ["both"]}
    assert await told(world, item, answer) == ["one"]


async def a_sync_whose_token_is_replaced_is_not_given_up(world, item):
    fault = await world.fault(item, "hold", phase="request")
    syncing = world.start(item, SyncTrigger.SCHEDULED)
    await world.control("held", fault_id=fault)
    # As after a pause that its lease did not outlast.
    await world.resources.redis.flushdb()
    await rotate_access_token(world.resources, item.id, "operator:test")
    await world.control("release", fault_id=fault)
    await syncing
    assert await world.one(item, "status") == ("active",)


CASES = [
    (breaks.no_version_check, test_coalescing.test_a_holder_that_outlives_its_lease_writes_nothing_over_its_rival),
    (breaks.a_removed_item_is_brought_back, test_faults.test_an_item_that_we_remove_while_it_syncs_is_not_brought_back),
    (breaks.cursor_of_the_first_page_stored, test_pains.test_1_two_syncs_at_once_duplicate_rows),
    (breaks.restart_from_the_advanced_cursor, restarts_at_the_loops_first_cursor),
    (breaks.no_cursor_overwrites_a_good_one, an_answer_without_a_cursor_keeps_the_old_one),
    (breaks.removals_ignored, test_pains.test_3_removed_rows_stay),
    (breaks.removals_before_additions, what_a_page_adds_and_removes_is_gone),
    (breaks.tombstones_stay, a_buried_row_that_is_told_again_stands),
    (breaks.pending_link_dropped, a_posted_row_ends_the_pending_one_that_it_names),
    (breaks.vanished_rows_stay, buries_what_a_full_pull_does_not_name),
    (breaks.dirty_flag_dropped, test_pains.test_12_a_manual_sync_says_success_and_the_data_are_stale),
    (breaks.lease_not_taken, test_pains.test_12_a_manual_sync_says_success_and_the_data_are_stale),
    (breaks.dead_token_ends_a_removal, test_removed_while_replaced.test_the_new_token_is_used_to_have_plaid_forget_it),
    (
        breaks.late_token_leaves_a_removal_closed,
        test_removed_while_replaced.test_a_rotation_that_lost_its_lease_and_comes_back_has_plaid_asked_again,
    ),
    (breaks.replaced_token_taken_for_a_gone_item, a_sync_whose_token_is_replaced_is_not_given_up),
]


@pytest.mark.parametrize(("damage", "case"), CASES, ids=[damage.__name__ for damage, _ in CASES])
async def test_a_broken_engine_is_found(world, monkeypatch, damage, case):
    (item,) = await world.link(transactions=30)
    damage(monkeypatch)
    with pytest.raises(AssertionError):
        await case(world, item)


@pytest.mark.parametrize("case", {case: None for _, case in CASES if not case.__name__.startswith("test_")})
async def test_the_whole_engine_passes(world, case):
    (item,) = await world.link(transactions=30)
    await case(world, item)


def test_every_break_has_its_case():
    assert [damage for damage, _ in CASES] == breaks.BREAKS
