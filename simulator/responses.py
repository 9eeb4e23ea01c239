from typing import Any

from simulator.bank.clock import stamp
from simulator.bank.item import Item
from simulator.bank.ledger import ADDED, MODIFIED, REMOVED
from simulator.bank.paging import Page
from simulator.errors import item_error
from simulator.json_codec import encode

AVAILABLE = ("assets", "balance", "recurring_transactions")


def sync_body(item: Item, page: Page, request_id: str, *, described: bool) -> bytes:
    """Return the answer of /transactions/sync; transactions are joined as the bytes that they are kept in."""
    lists: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    accounts = set()
    for entry, kind in zip(*page.changes, strict=True):
        accounts.add(entry.account_id)
        if kind == REMOVED:
            gone = {"account_id": entry.account_id, "transaction_id": entry.transaction_id}
            lists[REMOVED].append(encode(gone))
        else:
            lists[kind].append(entry.described() if described else entry.body())
    tail = {
        "accounts": [account for account in item.accounts if account["account_id"] in accounts],
        "has_more": page.has_more,
        "next_cursor": page.next_cursor,
        "request_id": request_id,
        "transactions_update_status": item.status,
    }
    parts = [
        b'{"added":[' + b",".join(lists[ADDED]),
        b'],"modified":[' + b",".join(lists[MODIFIED]),
        b'],"removed":[' + b",".join(lists[REMOVED]),
        b"]," + encode(tail)[1:],
    ]
    return b"".join(parts)


def item_document(item: Item) -> dict[str, Any]:
    """Return the Item as /item/get and /accounts/get show it."""
    return {
        "available_products": [product for product in AVAILABLE if product not in item.products],
        "billed_products": item.products,
        "products": item.products,
        "consented_products": item.products,
        "consent_expiration_time": None,
        "created_at": stamp(item.created_at),
        "error": None if item.error is None else item_error(item.error),
        "institution_id": item.institution_id,
        "institution_name": item.institution.name,
        "item_id": item.item_id,
        "update_type": "background",
        "webhook": item.webhook or "",
        "auth_method": None,
    }


def status_document(item: Item) -> dict[str, Any]:
    """Return how an Item does, as /item/get shows it beside the Item."""
    update = None if item.last_update is None else stamp(item.last_update)
    sent = None
    if item.last_webhook is not None:
        sent = {"sent_at": stamp(item.last_webhook[0]), "code_sent": item.last_webhook[1]}
    transactions = {"last_successful_update": update, "last_failed_update": None}
    return {"investments": None, "transactions": transactions, "last_webhook": sent}
