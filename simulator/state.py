from dataclasses import dataclass, field
from random import Random
from typing import Any

from simulator.cursors import Cursor, UnreadableCursorError, read_cursor
from simulator.errors import PlaidError, foreign_cursor, invalid_field, invalid_input, item_not_found, mutation
from simulator.generation import TransactionSource, make_accounts, today
from simulator.identifiers import Identifiers
from simulator.json_codec import decode, encode
from simulator.ledger import Change, Entry, Ledger
from simulator.merchants import INSTITUTIONS
from simulator.signing import SigningKey


@dataclass(slots=True)
class Item:
    """A log-in at a bank with its accounts and its ledger. `armed` once /transactions/sync was called."""

    item_id: str
    access_token: str = field(repr=False)
    institution_id: str
    accounts: list[dict[str, Any]]
    webhook: str | None
    ledger: Ledger = field(default_factory=Ledger)
    armed: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class PageOfChanges:
    """What one call of /transactions/sync answers with."""

    changes: list[Change]
    next_cursor: Cursor
    has_more: bool


class World:
    """Everything that the simulator knows: Items by id and by token, and the keys of its webhooks."""

    def __init__(self, seed: int | None = None) -> None:
        self.identifiers = Identifiers(seed)
        self.items: dict[str, Item] = {}
        self.keys: list[SigningKey] = [SigningKey()]
        self._by_token: dict[str, Item] = {}
        self._random = Random(seed)  # noqa: S311 - made-up data, repeatable by its seed; no secret

    def add_item(self, transactions: int, accounts: int = 2, webhook: str | None = None) -> Item:
        """Link a new Item with `transactions` of history."""
        institution = self._random.choice(INSTITUTIONS)
        item = Item(
            self.identifiers.plaid_id(),
            self.identifiers.token("access"),
            institution.institution_id,
            make_accounts(self.identifiers, accounts),
            webhook,
        )
        for entry in self.source().history(item.accounts, transactions):
            item.ledger.append(entry)
        self.items[item.item_id] = self._by_token[item.access_token] = item
        return item

    def source(self) -> TransactionSource:
        """Return a supply of transactions."""
        return TransactionSource(self._random, self.identifiers, today())

    def by_token(self, token: Any) -> Item:
        """Return the Item of an access token; PlaidError when there is none or it was removed."""
        if not isinstance(token, str) or not token.startswith("access-sandbox-"):
            raise invalid_input("INVALID_ACCESS_TOKEN", "provided access token is in an invalid format")
        item = self._by_token.get(token)
        if item is None or item.removed:
            raise item_not_found()
        return item

    def find(self, token: Any) -> Item | None:
        """Return the Item of an access token, removed or not, if there is one."""
        return self._by_token.get(token) if isinstance(token, str) else None

    def key(self, key_id: Any) -> SigningKey:
        """Return the webhook key of an id."""
        for key in self.keys:
            if key.key_id == key_id:
                return key
        raise invalid_input("INVALID_WEBHOOK_VERIFICATION_KEY_ID", "invalid key_id provided")

    def replace_token(self, item: Item) -> str:
        """Give the Item a new access token; the old one is dead at once."""
        del self._by_token[item.access_token]
        item.access_token = self.identifiers.token("access")
        self._by_token[item.access_token] = item
        return item.access_token

    def evolve(self, item: Item, added: int, modified: int, removed: int, posted: int) -> dict[str, int]:
        """Let the bank's data move on, and return what really happened: there may be less to change than asked."""
        source, counts = self.source(), dict.fromkeys(("added", "modified", "removed", "posted"), 0)
        standing = item.ledger.standing()
        self._random.shuffle(standing)
        pending = [entry for entry in standing if b'"pending":true' in (entry.body or b"")]
        settled = [entry for entry in standing if b'"pending":false' in (entry.body or b"")]
        for entry in pending[:posted]:
            item.ledger.remove(entry.transaction_id)
            item.ledger.append(self._settled(entry))
            counts["posted"] += 1
        for entry in settled[:removed]:
            counts["removed"] += item.ledger.remove(entry.transaction_id)
        for entry in settled[removed : removed + modified]:
            item.ledger.append(_raised(entry))
            counts["modified"] += 1
        for _ in range(added):
            item.ledger.append(source.one(item.accounts, 0, pending=self._random.random() < 0.3))  # noqa: PLR2004
            counts["added"] += 1
        return counts

    def _settled(self, entry: Entry) -> Entry:
        document = decode(entry.body or b"{}")
        document |= {
            "transaction_id": self.identifiers.plaid_id(),
            "pending": False,
            "pending_transaction_id": entry.transaction_id,
        }
        return entry._replace(transaction_id=document["transaction_id"], body=encode(document))


def _raised(entry: Entry) -> Entry:
    document = decode(entry.body or b"{}")
    document["amount"] += 1
    document["merchant_name"] = f"{document['merchant_name']} Inc."
    return entry._replace(body=encode(document))


def page_after(item: Item, text: str, count: int) -> PageOfChanges:
    """Return the page of `item` after the cursor `text`, and mark the Item as synced once.

    Raises:
        PlaidError: the cursor is not this Item's, or the ledger changed since the loop's first page.
    """
    cursor = _cursor(item, text)
    ledger = item.ledger
    if cursor.mid_loop and cursor.pinned != ledger.revision:
        raise mutation()
    item.armed = True
    changes = ledger.net_changes(cursor.span())
    end = cursor.offset + count
    has_more = end < len(changes)
    following = cursor.after_page(end, ledger.revision) if has_more else cursor.after_loop(ledger.head)
    return PageOfChanges(changes[cursor.offset : end], following, has_more)


def _cursor(item: Item, text: str) -> Cursor:
    if text == "":
        return Cursor(item.item_id, 0)
    if text == "now":
        return Cursor(item.item_id, 0, start=item.ledger.head, floor=item.ledger.head)
    try:
        cursor = read_cursor(text)
    except UnreadableCursorError:
        raise invalid_field("cursor is not valid") from None
    if cursor.item_id != item.item_id:
        raise foreign_cursor()
    return cursor


__all__ = ["Item", "PageOfChanges", "PlaidError", "World", "page_after"]
