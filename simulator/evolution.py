"""How a ledger changes over time."""

from random import Random
from typing import Any

import msgspec

from simulator.generation import plain_transaction, today
from simulator.identifiers import Identifiers
from simulator.items import Item
from simulator.json_codec import decode, encode
from simulator.ledger import Entry

_PENDING = b'"pending":true'
_DOLLAR = 1


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    """How many transactions to add, modify, remove and post (pending ones made posted)."""

    added: int = 0
    modified: int = 0
    removed: int = 0
    posted: int = 0


def evolve(item: Item, wanted: Changes, random: Random, identifiers: Identifiers) -> Changes:
    """Apply the changes, each to a different transaction; fewer where the ledger has not enough of them."""
    waiting = pending(item)
    random.shuffle(waiting)
    posted = waiting[: wanted.posted]
    for entry in posted:
        post(item, entry, {}, identifiers)
    taken = {entry.transaction_id for entry in posted}
    others = [entry for entry in item.ledger.standing() if entry.transaction_id not in taken]
    chosen = random.sample(others, min(len(others), wanted.modified + wanted.removed))
    modified, removed = chosen[: wanted.modified], chosen[wanted.modified :]
    for entry in modified:
        amend(item, entry, _amendment(entry, random))
    for entry in removed:
        item.ledger.remove(entry.transaction_id)
    for _ in range(wanted.added):
        item.ledger.append(item.source.recent(item.accounts))
    item.touch()
    return Changes(wanted.added, len(modified), len(removed), len(posted))


def refresh(item: Item, identifiers: Identifiers) -> None:
    """What the sandbox does to a `user_transactions_dynamic` Item when it is refreshed."""
    earlier = pending(item)
    for entry in earlier:
        post(item, entry, {}, identifiers)
    standing = item.ledger.standing()
    if standing:
        dearer = item.random.choice(standing)
        amend(item, dearer, {"amount": document_of(dearer)["amount"] + _DOLLAR})
    for _ in range(max(1, len(earlier))):
        item.ledger.append(item.source.one(item.accounts, 0, pending=True))
    item.touch()


def pending(item: Item) -> list[Entry]:
    """The transactions that are not posted yet."""
    return [entry for entry in item.ledger.standing() if entry.body and _PENDING in entry.body]


def post(item: Item, entry: Entry, overlay: dict[str, Any], identifiers: Identifiers) -> str:
    """Remove the pending transaction and add its posted successor, whose id is returned."""
    document = document_of(entry)
    document["pending"] = False
    document["pending_transaction_id"] = entry.transaction_id
    document["transaction_id"] = identifiers.plaid_id()
    document.update(overlay)
    item.ledger.remove(entry.transaction_id)
    item.ledger.append(entry_of(document, entry.original_description))
    return str(document["transaction_id"])


def amend(item: Item, entry: Entry, overlay: dict[str, Any]) -> None:
    """Lay the fields over the transaction; its reader will find it modified."""
    item.ledger.append(entry_of(document_of(entry) | overlay, entry.original_description))


def insert(item: Item, overlay: dict[str, Any], identifiers: Identifiers) -> str:
    """Add a plain transaction of the first account, with the fields laid over it; its id is returned."""
    document = plain_transaction(item.accounts[0], identifiers.plaid_id(), today()) | overlay
    item.ledger.append(entry_of(document))
    return str(document["transaction_id"])


def churn_accounts(item: Item, identifiers: Identifiers) -> dict[str, str]:
    """Give every account a new id and move its transactions there; the old ids by which new ones."""
    moved = {account["account_id"]: identifiers.plaid_id() for account in item.accounts}
    item.replace_accounts([account | {"account_id": moved[account["account_id"]]} for account in item.accounts])
    for entry in item.ledger.standing():
        amend(item, entry, {"account_id": moved.get(entry.account_id, entry.account_id)})
    return moved


def document_of(entry: Entry) -> dict[str, Any]:
    """The transaction as a document of its own."""
    document: dict[str, Any] = decode(entry.body or b"{}")
    return document


def entry_of(document: dict[str, Any], original_description: bytes = b"null") -> Entry:
    """The ledger's line for a document."""
    return Entry(document["transaction_id"], document["account_id"], encode(document), original_description)


def _amendment(entry: Entry, random: Random) -> dict[str, Any]:
    document = document_of(entry)
    kind = random.randrange(3)
    if kind == 0:
        return {"amount": document["amount"] + _DOLLAR}
    if kind == 1:
        return {"name": f"{document['name']} *{random.randrange(1000):03}"}
    return {"merchant_name": None, "merchant_entity_id": None}
