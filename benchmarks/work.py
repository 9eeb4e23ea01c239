"""The work: what the stand-in for Plaid serves, and what everybody must have stored in the end.

Every id and amount follows from the Item's number and the transaction's, so the totals are computed here without
asking anybody: round one is the history, each round after it three added, one modified and one removed.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

PAGE = 500
ADDED, MODIFIED, REMOVED = 3, 1, 1
CHANGES = ADDED + MODIFIED + REMOVED
RAISE_CENTS = 100


@dataclass(frozen=True, slots=True)
class Totals:
    """What stands in a store: rows, the exact sum of their amounts, and Items whose cursor is the last one given."""

    rows: int
    amount: Decimal
    at_cursor: int


@dataclass(frozen=True, slots=True)
class Work:
    """So many Items, each with `history` transactions in round one and five changes in each round after it."""

    items: int
    history: int
    rounds: int = 2

    def totals(self, rounds: int) -> Totals:
        """Return what must stand after a number of rounds."""
        cents = sum(cents_of(item, n) for item in range(self.items) for n in range(self.history))
        rows = self.items * (self.history + (rounds - 1) * (ADDED - REMOVED))
        cents += sum(self._changed_cents(item, number) for item in range(self.items) for number in range(2, rounds + 1))
        return Totals(rows, Decimal(cents) / 100, self.items)

    def _added(self, number: int) -> range:
        first = self.history + (number - 2) * ADDED
        return range(first, first + ADDED)

    def _changed_cents(self, item: int, number: int) -> int:
        added = sum(cents_of(item, n) for n in self._added(number))
        return added + MODIFIED * RAISE_CENTS - cents_of(item, number - 1)

    def cursor(self, item: int, rounds: int) -> str:
        """Return the cursor that ends a round of an Item."""
        return f"cursor-{item:08}-end-of-round-{rounds}"

    def pages(self, item: int) -> Iterator[tuple[str, bytes]]:
        """Yield each cursor that an Item can be asked from, "" first, with the raw answer."""
        cursor = ""
        for start in range(0, self.history, PAGE):
            end = min(start + PAGE, self.history)
            is_last = end == self.history
            following = self.cursor(item, 1) if is_last else f"cursor-{item:08}-page-{end:08}"
            added = [transaction(item, n) for n in range(start, end)]
            yield cursor, _answer(item, following, added=added, has_more=not is_last)
            cursor = following
        for number in range(2, self.rounds + 1):
            added = [transaction(item, n) for n in self._added(number)]
            modified = [transaction(item, 0, raised=(number - 1) * RAISE_CENTS)]
            gone = [{"transaction_id": transaction_id(item, number - 1), "account_id": account_id(item)}]
            following = self.cursor(item, number)
            yield cursor, _answer(item, following, added=added, modified=modified, removed=gone)
            cursor = following
        yield cursor, _answer(item, cursor)


def access_token(item: int) -> str:
    """Return an Item's token."""
    return f"access-sandbox-{item:08}-0000-0000-0000-000000000000"


def cents_of(item: int, n: int) -> int:
    """Return the amount of an Item's n-th transaction in cents."""
    return (item * 7919 + n * 104_729) % 100_000 + 1


def transaction_id(item: int, n: int) -> str:
    """Return an id that is as long and as scattered as Plaid's."""
    digest = hashlib.blake2b(f"{item}:{n}".encode(), digest_size=27).digest()
    return base64.urlsafe_b64encode(digest).decode() + "t"


def account_id(item: int) -> str:
    """Return the id of an Item's only account."""
    return f"account{item:030}"


def transaction(item: int, n: int, raised: int = 0) -> dict[str, Any]:
    """Return a transaction with every field of Plaid's example: 30 keys, about 1,750 bytes."""
    cents = cents_of(item, n) + raised
    day = f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}"
    return TEMPLATE | {
        "transaction_id": transaction_id(item, n),
        "account_id": account_id(item),
        "amount": cents / 100,
        "date": day,
        "authorized_date": day,
        "datetime": f"{day}T11:00:00Z",
        "authorized_datetime": f"{day}T10:34:50Z",
        "name": f"PURCHASE WM SUPERCENTER #{n:06}",
        "original_description": f"PURCHASE WM SUPERCENTER #{n:06} POS DEBIT VISA 4111",
    }


def _answer(  # noqa: PLR0913 - the answer's own fields
    item: int,
    next_cursor: str,
    *,
    added: list[dict[str, Any]] | None = None,
    modified: list[dict[str, Any]] | None = None,
    removed: list[dict[str, Any]] | None = None,
    has_more: bool = False,
) -> bytes:
    document = {
        "accounts": [ACCOUNT | {"account_id": account_id(item)}],
        "added": added or [],
        "modified": modified or [],
        "removed": removed or [],
        "next_cursor": next_cursor,
        "has_more": has_more,
        "request_id": "Wvhy9PZHQLV8njG",
        "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
    }
    return msgspec.json.encode(document)


ACCOUNT: dict[str, Any] = {
    "balances": {
        "available": 110.94,
        "current": 110.94,
        "iso_currency_code": "USD",
        "limit": None,
        "unofficial_currency_code": None,
    },
    "mask": "0000",
    "name": "Plaid Checking",
    "official_name": "Plaid Gold Standard 0% Interest Checking",
    "subtype": "checking",
    "type": "depository",
    "holder_category": "personal",
}
# Source: Plaid, /transactions/sync, the example answer, with every field filled that can be.
TEMPLATE: dict[str, Any] = {
    "account_owner": None,
    "category": None,
    "category_id": None,
    "check_number": None,
    "counterparties": [
        {
            "name": "Walmart",
            "type": "merchant",
            "logo_url": "https://plaid-merchant-logos.plaid.com/walmart_1100.png",
            "website": "walmart.com",
            "entity_id": "O5W5j4dN9OR3E6ypQmjdkWZZRoXEzVMz2ByWM",
            "confidence_level": "VERY_HIGH",
        },
        {
            "name": "Square",
            "type": "payment_terminal",
            "logo_url": "https://plaid-counterparty-logos.plaid.com/square.png",
            "website": "squareup.com",
            "entity_id": "bqbyK5dN9OR3E6ypQmjdkWZZRoXEzVMzWalmt",
            "confidence_level": "VERY_HIGH",
        },
    ],
    "iso_currency_code": "USD",
    "location": {
        "address": "13425 Community Rd",
        "city": "Poway",
        "country": "US",
        "lat": 32.959068,
        "lon": -117.037666,
        "postal_code": "92064",
        "region": "CA",
        "store_number": "1700",
    },
    "logo_url": "https://plaid-merchant-logos.plaid.com/walmart_1100.png",
    "merchant_entity_id": "O5W5j4dN9OR3E6ypQmjdkWZZRoXEzVMz2ByWM",
    "merchant_name": "Walmart",
    "payment_channel": "in store",
    "payment_meta": {
        "by_order_of": None,
        "payee": None,
        "payer": None,
        "payment_method": None,
        "payment_processor": None,
        "ppd_id": None,
        "reason": None,
        "reference_number": None,
    },
    "pending": False,
    "pending_transaction_id": None,
    "personal_finance_category": {
        "primary": "GENERAL_MERCHANDISE",
        "detailed": "GENERAL_MERCHANDISE_SUPERSTORES",
        "confidence_level": "VERY_HIGH",
        "version": "v2",
    },
    "personal_finance_category_icon_url": "https://plaid-category-icons.plaid.com/PFC_GENERAL_MERCHANDISE.png",
    "transaction_code": None,
    "transaction_type": "place",
    "unofficial_currency_code": None,
    "website": "walmart.com",
}
