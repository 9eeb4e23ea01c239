from dataclasses import dataclass, field
from itertools import compress

from simulator.cursors import Cursor
from simulator.items import Item
from simulator.json_codec import encode
from simulator.ledger import ADDED, MODIFIED, REMOVED, Change


@dataclass(slots=True)
class Page:
    """One answer of /transactions/sync, its parts already encoded."""

    status: str
    next_cursor: str = ""
    has_more: bool = False
    accounts: list[bytes] = field(default_factory=list)
    added: list[bytes] = field(default_factory=list)
    modified: list[bytes] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)

    def body(self) -> bytes:
        """The JSON object: half a megabyte joined, not encoded anew."""
        parts = [b'{"accounts":[', b",".join(self.accounts), b'],"added":[', b",".join(self.added)]
        parts += [b'],"modified":[', b",".join(self.modified), b'],"removed":[', b",".join(self.removed)]
        parts += [b'],"next_cursor":', encode(self.next_cursor), b',"has_more":', encode(self.has_more)]
        parts += [b',"transactions_update_status":', encode(self.status), b"}"]
        return b"".join(parts)


def cut_page(item: Item, cursor: Cursor, count: int, *, described: bool) -> Page:
    """The next at most `count` updates behind `cursor`, which must belong to the Item and be current."""
    changes = item.ledger.net_changes(cursor.span())
    window = changes[cursor.offset : cursor.offset + count]
    if cursor.split:
        window = _one_side_of_removals(window)
    end, head = cursor.offset + len(window), item.ledger.head
    more = end < len(changes)
    successor = cursor.after_page(end, head) if more else cursor.after_loop(head)
    page = Page(item.status, successor.text(), more)
    _fill(page, item, window, described=described)
    return page


def _one_side_of_removals(window: list[Change]) -> list[Change]:
    if not window or window[0].kind == REMOVED:
        return window
    return [change for change in window if change.kind != REMOVED]


def _fill(page: Page, item: Item, window: list[Change], *, described: bool) -> None:
    seen = set()
    arrays = {ADDED: page.added, MODIFIED: page.modified}
    for kind, entry in window:
        if kind == REMOVED:
            page.removed.append(_removal(entry.account_id, entry.transaction_id))
            continue
        seen.add(entry.account_id)
        arrays[kind].append(entry.described() if described else entry.body or b"")
    chosen = (account["account_id"] in seen for account in item.accounts)
    page.accounts = [item.account_body(account) for account in compress(item.accounts, chosen)]


def _removal(account_id: str, transaction_id: str) -> bytes:
    return encode({"account_id": account_id, "transaction_id": transaction_id})
