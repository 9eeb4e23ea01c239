"""How a bank's data moves on."""

from typing import Annotated, Any, Literal

import msgspec

from simulator.bank.item import HISTORICAL, INITIAL, NOT_READY, Item
from simulator.bank.ledger import AS_IT_CAME, REMOVED_FIRST, REMOVED_LAST, Entry
from simulator.bank.world import World

Natural = Annotated[int, msgspec.Meta(ge=0)]
ORDERS = {None: AS_IT_CAME, "removed_last": REMOVED_LAST, "removed_first": REMOVED_FIRST}
INITIAL_DAYS = 30
_NEW_IN_A_REFRESH = 3
_LIKELY_PENDING = 0.3


class Changes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to one ledger; `split` keeps removals off the pages of everything else, before or after it."""

    added: Natural = 0
    modified: Natural = 0
    removed: Natural = 0
    posted: Natural = 0
    split: Literal["removed_last", "removed_first"] | None = None


def evolve(world: World, item: Item, changes: Changes) -> dict[str, int]:
    """Let the bank's data move on, and return what really happened: there may be less to change than asked."""
    item.order = ORDERS[changes.split]
    standing = item.ledger.standing() if changes.modified + changes.removed + changes.posted else []
    posted = _some(world, [entry for entry in standing if entry.is_pending()], changes.posted)
    settled = [entry for entry in standing if not entry.is_pending()]
    altered = _some(world, settled, changes.removed + changes.modified)
    removed, modified = altered[: changes.removed], altered[changes.removed :]
    for entry in posted:
        _post(world, item, entry)
    for entry in removed:
        item.ledger.remove(entry)
    for entry in modified:
        _raise(item, entry, renamed=True)
    for _ in range(changes.added):
        _add(world, item, pending=world.random.random() < _LIKELY_PENDING)
    return {"added": changes.added, "modified": len(modified), "removed": len(removed), "posted": len(posted)}


def refresh(world: World, item: Item) -> list[str]:
    """Do what Plaid does to `user_transactions_dynamic`, and return the ids of the pending ones that are gone.

    New pending transactions come, all earlier pending ones are posted, one amount rises by 1.00.
    """
    standing = item.ledger.standing()
    pending = [entry for entry in standing if entry.is_pending()]
    for entry in _some(world, [entry for entry in standing if not entry.is_pending()], 1):
        _raise(item, entry, renamed=False)
    for entry in pending:
        _post(world, item, entry)
    for _ in range(_NEW_IN_A_REFRESH):
        _add(world, item, pending=True)
    return [entry.transaction_id for entry in pending]


def churn(world: World, item: Item, *, keep_transaction_ids: bool) -> None:
    """Give every account a new id, as when Plaid no longer recognises it, and with it every transaction."""
    renamed = {account["account_id"]: world.identifiers.plaid_id() for account in item.accounts}
    item.accounts = [account | {"account_id": renamed[account["account_id"]]} for account in item.accounts]
    item.backlog = [(age, _renamed(entry, renamed)) for age, entry in item.backlog]
    for entry in item.ledger.standing():
        document = _renamed(entry, renamed).document()
        if not keep_transaction_ids:
            item.ledger.remove(entry)
            document["transaction_id"] = world.identifiers.plaid_id()
        item.ledger.append(Entry.of(document, entry.original_description))


def extract(world: World, item: Item) -> int:
    """Bring an Item's history one step on, to the last 30 days and then to all, and return how many came."""
    if item.status == HISTORICAL:
        return 0
    is_initial = item.status == NOT_READY
    reach = INITIAL_DAYS if is_initial else item.days_requested
    came = [entry for age, entry in item.backlog if age <= reach]
    item.backlog = [(age, entry) for age, entry in item.backlog if age > reach]
    for entry in came:
        item.ledger.append(entry)
    item.status = INITIAL if is_initial else HISTORICAL
    item.last_update = world.clock.now()
    return len(came)


def _renamed(entry: Entry, accounts: dict[str, str]) -> Entry:
    document = entry.document() | {"account_id": accounts[entry.account_id]}
    return Entry.of(document, entry.original_description)


def _some(world: World, entries: list[Entry], count: int) -> list[Entry]:
    return world.random.sample(entries, min(count, len(entries)))


def _add(world: World, item: Item, *, pending: bool) -> None:
    entry = world.source().one(item.accounts, 0, pending=pending)
    item.ledger.append(entry)
    _move(item, entry.document())


def _post(world: World, item: Item, entry: Entry) -> None:
    item.ledger.remove(entry)
    document = entry.document() | {"pending": False, "pending_transaction_id": entry.transaction_id}
    document["transaction_id"] = world.identifiers.plaid_id()
    item.ledger.append(Entry.of(document, entry.original_description))


def _raise(item: Item, entry: Entry, *, renamed: bool) -> None:
    document = entry.document()
    document["amount"] += 1
    if renamed:
        document["merchant_name"] = f"{document['merchant_name'] or document['name']} Inc."
    item.ledger.append(Entry.of(document, entry.original_description))
    _move(item, document | {"amount": 1})


def _move(item: Item, document: dict[str, Any]) -> None:
    account = item.account(document["account_id"])
    if account is None or document["iso_currency_code"] is None:
        return
    spent = float(document["amount"])
    owed = account["type"] == "credit"
    balances = account["balances"]
    balances["current"] = round(balances["current"] + (spent if owed else -spent), 2)
    if balances["available"] is not None:
        balances["available"] = round(balances["available"] - spent, 2)
