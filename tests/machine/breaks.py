"""The engine, broken on purpose in one place at a time.

Written cases find each break (`test_it_can_fail`), and so does the search (`test_the_search_finds`); what neither can
find is held by nothing.
"""

from sqlalchemy import select, update

from core.items import removal, token_rotation
from core.locking import DistributedLock
from core.models import ItemRemoval
from core.sync import apply, commit, pages, runs, staging, token_settlement


def forget_statements():
    """Have the engine put its statements together anew."""
    for cached in (apply._statement, staging._move):
        cached.cache_clear()


def without(monkeypatch, module, name, words, instead=""):
    """Take words out of a statement of the engine."""
    statement = getattr(module, name)
    assert words in statement, "the engine has changed: break it otherwise"
    monkeypatch.setattr(module, name, statement.replace(words, instead))
    forget_statements()


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
    give_back = DistributedLock.give_back

    async def forget(self):
        await give_back(self)
        self.notice_left = False

    monkeypatch.setattr(DistributedLock, "give_back", forget)


def lease_not_taken(monkeypatch):
    async def take(self, *, leave_notice=False):
        return True

    monkeypatch.setattr(DistributedLock, "try_acquire", take)


def dead_token_ends_a_removal(monkeypatch):
    async def close(resources, due, error):
        async with resources.database.transaction() as session:
            await removal._close(session, await removal._locked(session, due))

    monkeypatch.setattr(removal, "_close_dead", close)


def late_token_leaves_a_removal_closed(monkeypatch):
    store = token_settlement.commit_token

    async def leave_closed(resources, rotation, sealed):
        mine = ItemRemoval.item_id == rotation.item_id
        async with resources.database.transaction() as session:
            closed = await session.scalar(select(ItemRemoval.removed_at).where(mine))
        await store(resources, rotation, sealed)
        async with resources.database.transaction() as session:
            await session.execute(update(ItemRemoval).where(mine, closed is not None).values(removed_at=closed))

    for module in (token_settlement, token_rotation):
        monkeypatch.setattr(module, "commit_token", leave_closed)


def replaced_token_taken_for_a_gone_item(monkeypatch):
    monkeypatch.setattr(runs, "OLD_TOKEN_IS_DEAD", frozenset())


BREAKS = [
    no_version_check,
    a_removed_item_is_brought_back,
    cursor_of_the_first_page_stored,
    restart_from_the_advanced_cursor,
    no_cursor_overwrites_a_good_one,
    removals_ignored,
    removals_before_additions,
    tombstones_stay,
    pending_link_dropped,
    vanished_rows_stay,
    dirty_flag_dropped,
    lease_not_taken,
    dead_token_ends_a_removal,
    late_token_leaves_a_removal_closed,
    replaced_token_taken_for_a_gone_item,
]
