from dataclasses import dataclass, replace

from simulator.bank.cursors import Cursor, UnreadableCursorError, read_cursor
from simulator.bank.item import Item
from simulator.bank.ledger import AS_IT_CAME, REMOVED, REMOVED_FIRST, Changes
from simulator.errors import foreign_cursor, invalid_field, mutation, outdated_cursor


@dataclass(frozen=True, slots=True)
class Page:
    """What one call of /transactions/sync answers with; `next_cursor` is "" while nothing is ready."""

    changes: Changes
    next_cursor: str
    has_more: bool


EMPTY = Page(Changes([], b""), "", has_more=False)


def page_after(item: Item, text: str, count: int, account_id: str = "") -> Page:
    """Return the page of `item` after the cursor `text`.

    Raises:
        PlaidError: the cursor is not this Item's or not this account's, is refused by a fault, or the ledger changed
            since the loop's first page.
    """
    cursor = place(item, text, account_id)
    ledger = item.ledger
    if cursor.mid_loop and cursor.pinned != ledger.revision:
        raise mutation()
    entries, kinds = ledger.net_changes(cursor.span())
    end = _end(cursor, kinds, count)
    has_more = end < len(entries)
    following = cursor.after_page(end, ledger.revision) if has_more else cursor.after_loop(ledger.head)
    changes = Changes(entries[cursor.offset : end], kinds[cursor.offset : end])
    return Page(changes, following.text(), has_more)


def empty_page(item: Item, text: str, account_id: str = "") -> Page:
    """Return a page that holds nothing and says that there is more: what follows is as if it had not been."""
    cursor = place(item, text, account_id)
    revision = cursor.pinned if cursor.mid_loop else item.ledger.revision
    return replace(EMPTY, next_cursor=cursor.after_page(cursor.offset, revision).text(), has_more=True)


def place(item: Item, text: str, account_id: str) -> Cursor:
    """Return the place that a cursor stands for."""
    if text == "":
        return _beginning(item, account_id)
    if item.cursor_refusal is not None:
        # The same object is raised each time: without this its traceback would grow each time.
        raise item.cursor_refusal.with_traceback(None)
    if text == "now":
        head = item.ledger.head
        return Cursor(item.item_id, item.epoch, account_id, start=head, floor=head)
    try:
        cursor = read_cursor(text)
    except UnreadableCursorError:
        raise invalid_field("cursor is not valid") from None
    if (cursor.item_id, cursor.account_id) != (item.item_id, account_id):
        raise foreign_cursor()
    if cursor.epoch != item.epoch:
        raise outdated_cursor()
    return cursor if cursor.mid_loop else replace(cursor, order=item.order)


def _beginning(item: Item, account_id: str) -> Cursor:
    if item.cursor_refusal is not None:
        item.cursor_refusal = None
        item.epoch += 1
    return Cursor(item.item_id, item.epoch, account_id, order=item.order)


def _end(cursor: Cursor, kinds: bytes, count: int) -> int:
    end = cursor.offset + count
    if cursor.order == AS_IT_CAME:
        return end
    # An Item whose removals are kept apart never has them on one page with anything else.
    removals = kinds.count(REMOVED)
    border = removals if cursor.order == REMOVED_FIRST else len(kinds) - removals
    return min(end, border) if cursor.offset < border else end
