"""The engine, broken on purpose in one place at a time: the cases must find each break, or they are worth nothing.

A break is a patch of the engine; beside it stands the case that finds it, which passes while the engine is whole.
"""

import asyncio

import pytest

from core.locking import DistributedLock
from core.models import RunStatus, SyncTrigger
from core.sync import apply, commit, pages, staging
from tests.cases import test_coalescing, test_faults, test_pains
from tests.cases.conftest import bank_url, impatient, notice  # noqa: F401 - fixtures of the cases
from tests.cases.conftest import world as whole_world  # noqa: F401 - the same
from tests.integration.plaid_script import PlaidScript, page, transaction
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
    begun, start = [], whole_world.start
    whole_world.start = lambda *given: begun.append(start(*given)) or begun[-1]
    yield whole_world
    await whole_world.control("release")
    if begun:
        await asyncio.wait(begun)
    for cached in (apply._statement, staging._move):
        cached.cache_clear()


def without(monkeypatch, module, name, words, instead=""):
    """Take words out of a statement of the engine."""
    statement = getattr(module, name)
    assert words in statement, "the engine has changed: break it otherwise"
    monkeypatch.setattr(module, name, statement.replace(words, instead))
    for cached in (apply._statement, staging._move):
        cached.cache_clear()


def no_version_check(monkeypatch):
    without(monkeypatch, commit, "MOVE", "AND item.version = asked.read_version")


def a_removed_item_is_brought_back(monkeypatch):
    no_version_check(monkeypatch)
    without(monkeypatch, commit, "MOVE", "AND item.status NOT IN ('revoked', 'removed')")


def cursor_of_the_first_page_stored(monkeypatch):
    decode = pages.decode_page

    def first_is_last(body):
        told, body, rejected = decode(body)
        told.has_more = False
        return told, body, rejected

    monkeypatch.setattr(pages, "decode_page", first_is_last)


def restart_from_the_advanced_cursor(monkeypatch):
    walk, reached = pages._walk, {}

    class Watched:
        def __init__(self, plaid):
            self.plaid = plaid

        async def transactions_sync(self, token, cursor):
            reached[token] = cursor
            return await self.plaid.transactions_sync(token, cursor)

    async def go_on(plaid, token, cursor, collected):
        await walk(Watched(plaid), token, reached.get(token, cursor), collected)
        reached.clear()

    monkeypatch.setattr(pages, "_walk", go_on)


def no_cursor_overwrites_a_good_one(monkeypatch):
    without(monkeypatch, commit, "MOVE", "coalesce(asked.next_cursor, item.cursor)", "asked.next_cursor")


def removals_ignored(monkeypatch):
    without(monkeypatch, apply, "APPLY", "transaction_id FROM gone", "transaction_id FROM gone WHERE false")


def removals_before_additions(monkeypatch):
    # What one statement buries and inserts is never buried: the row is not there yet when it looks.
    without(monkeypatch, apply, "READ", "WHERE (key, transaction_id) NOT IN (SELECT key, transaction_id FROM gone)")
    without(monkeypatch, apply, "APPLY", "WHERE (key, transaction_id) NOT IN (SELECT key, transaction_id FROM ended)")


def tombstones_stay(monkeypatch):
    without(monkeypatch, staging, "MOVE", "removed_at = excluded.removed_at", "removed_at = transactions.removed_at")


def pending_link_dropped(monkeypatch):
    link = "    UNION\n    SELECT key, pending_transaction_id FROM said WHERE pending_transaction_id <> transaction_id"
    without(monkeypatch, apply, "APPLY", link)


def vanished_rows_stay(monkeypatch):
    without(monkeypatch, staging, "BURY_UNNAMED", "removed_at IS NULL AND NOT EXISTS", "false AND NOT EXISTS")


def dirty_flag_dropped(monkeypatch):
    release = DistributedLock.release

    async def forget(self):
        await release(self)
        self.notice_left = False

    monkeypatch.setattr(DistributedLock, "release", forget)


def lease_not_taken(monkeypatch):
    async def take(self, *, leave_notice=False):
        return True

    monkeypatch.setattr(DistributedLock, "try_acquire", take)


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


BREAKS = [
    (no_version_check, test_coalescing.test_a_holder_that_outlives_its_lease_writes_nothing_over_its_rival),
    (a_removed_item_is_brought_back, test_faults.test_an_item_that_we_remove_while_it_syncs_is_not_brought_back),
    (cursor_of_the_first_page_stored, test_pains.test_1_two_syncs_at_once_duplicate_rows),
    (restart_from_the_advanced_cursor, restarts_at_the_loops_first_cursor),
    (no_cursor_overwrites_a_good_one, an_answer_without_a_cursor_keeps_the_old_one),
    (removals_ignored, test_pains.test_3_removed_rows_stay),
    (removals_before_additions, what_a_page_adds_and_removes_is_gone),
    (tombstones_stay, a_buried_row_that_is_told_again_stands),
    (pending_link_dropped, a_posted_row_ends_the_pending_one_that_it_names),
    (vanished_rows_stay, buries_what_a_full_pull_does_not_name),
    (dirty_flag_dropped, test_pains.test_12_a_manual_sync_says_success_and_the_data_are_stale),
    (lease_not_taken, test_pains.test_12_a_manual_sync_says_success_and_the_data_are_stale),
]


@pytest.mark.parametrize(("damage", "case"), BREAKS, ids=[damage.__name__ for damage, _ in BREAKS])
async def test_a_broken_engine_is_found(world, monkeypatch, damage, case):
    (item,) = await world.link(transactions=30)
    damage(monkeypatch)
    with pytest.raises(AssertionError):
        await case(world, item)


@pytest.mark.parametrize("case", {case: None for _, case in BREAKS if not case.__name__.startswith("test_")})
async def test_the_whole_engine_passes(world, case):
    (item,) = await world.link(transactions=30)
    await case(world, item)
