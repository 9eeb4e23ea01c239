from typing import Any

from simulator.generation import today
from simulator.json_codec import encode
from simulator.ledger import ADDED, MODIFIED, REMOVED
from simulator.state import Item, PageOfChanges

PRODUCTS = ["transactions"]


def sync_body(item: Item, page: PageOfChanges, request_id: str, *, described: bool) -> bytes:
    """Return the answer of /transactions/sync; transactions are joined as the bytes that they are kept in."""
    lists: dict[int, list[bytes]] = {ADDED: [], MODIFIED: [], REMOVED: []}
    accounts = set()
    for kind, entry in page.changes:
        accounts.add(entry.account_id)
        if kind == REMOVED:
            gone = {"account_id": entry.account_id, "transaction_id": entry.transaction_id}
            lists[REMOVED].append(encode(gone))
        else:
            lists[kind].append(entry.described() if described else entry.body or b"{}")
    tail = {
        "accounts": [account for account in item.accounts if account["account_id"] in accounts],
        "has_more": page.has_more,
        "next_cursor": page.next_cursor.text(),
        "request_id": request_id,
        "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
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
        "available_products": ["balance"],
        "billed_products": PRODUCTS,
        "products": PRODUCTS,
        "consent_expiration_time": None,
        "created_at": f"{today().isoformat()}T00:00:00Z",
        "error": None,
        "institution_id": item.institution_id,
        "item_id": item.item_id,
        "update_type": "background",
        "webhook": item.webhook or "",
        "auth_method": None,
    }
