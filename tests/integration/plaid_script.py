"""A small, real implementation of a page source: answers what it was given, and keeps what it was asked."""

import json
from collections.abc import Sequence
from typing import Any

from core.errors import SyncError


def transaction(transaction_id: str, **fields: Any) -> dict[str, Any]:
    """Return a transaction with the fields that Plaid requires, changed by `fields`."""
    plain = {
        "transaction_id": transaction_id,
        "account_id": "acc1",
        "amount": 12.34,
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
        "date": "2026-05-02",
        "name": "CAFE 12",
        "pending": False,
        "pending_transaction_id": None,
        "payment_channel": "in store",
        "personal_finance_category": {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"},
        "location": {"city": "Oakland"},
    }
    return plain | fields


def page(
    added: Sequence[dict[str, Any]] = (),
    modified: Sequence[dict[str, Any]] = (),
    removed: Sequence[str] = (),
    accounts: Sequence[dict[str, Any]] = (),
    *,
    next_cursor: str | None = "c1",
    has_more: bool = False,
) -> bytes:
    """Return the raw answer of /transactions/sync."""
    document = {
        "accounts": list(accounts),
        "added": list(added),
        "modified": list(modified),
        "removed": [{"transaction_id": one, "account_id": "acc1"} for one in removed],
        "next_cursor": next_cursor,
        "has_more": has_more,
        "request_id": "rQ1",
        "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
    }
    return json.dumps(document).encode()


class PlaidScript:
    """Gives the answers in order; an error among them is raised."""

    def __init__(self, *answers: bytes | SyncError) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str | None]] = []

    async def transactions_sync(self, access_token: str, cursor: str | None, _again: object = None) -> bytes:
        """Return the next answer."""
        self.asked.append((access_token, cursor))
        answer = self._answers.pop(0)
        if isinstance(answer, SyncError):
            raise answer
        return answer
