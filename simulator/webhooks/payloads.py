"""What each webhook says. Source: Plaid's OpenAPI file, as kept in the protocol notes, section 4.1."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from simulator.bank.clock import Clock, stamp
from simulator.bank.item import HISTORICAL, Item
from simulator.errors import item_error, login_required, user_permission_revoked

TRANSACTIONS, ITEM = "TRANSACTIONS", "ITEM"
NOTICE = timedelta(days=7)
Fields = dict[str, Any]


def sync_updates_available(item: Item, _clock: Clock) -> Fields:
    """SYNC_UPDATES_AVAILABLE."""
    return {"initial_update_complete": item.is_ready(), "historical_update_complete": item.status == HISTORICAL}


def _new_transactions(item: Item, _clock: Clock) -> Fields:
    return {"new_transactions": len(item.ledger.standing()), "error": None}


def _removed(_item: Item, _clock: Clock) -> Fields:
    return {"removed_transactions": [], "error": None}


def _recurring(item: Item, _clock: Clock) -> Fields:
    return {"account_ids": [account["account_id"] for account in item.accounts]}


def _error(item: Item, _clock: Clock) -> Fields:
    return {"error": item_error(item.error or login_required())}


def _no_error(_item: Item, _clock: Clock) -> Fields:
    return {"error": None}


def _nothing(_item: Item, _clock: Clock) -> Fields:
    return {}


def _expiration(_item: Item, clock: Clock) -> Fields:
    return {"consent_expiration_time": stamp(clock.now() + NOTICE)}


def _disconnect(_item: Item, clock: Clock) -> Fields:
    return {"reason": "INSTITUTION_TOKEN_EXPIRATION", "disconnect_time": stamp(clock.now() + NOTICE)}


def _revoked(_item: Item, _clock: Clock) -> Fields:
    return {"error": item_error(user_permission_revoked())}


def _account_revoked(item: Item, _clock: Clock) -> Fields:
    return {"account_id": item.accounts[0]["account_id"]}


def _url_acknowledged(item: Item, _clock: Clock) -> Fields:
    return {"new_webhook_url": item.webhook, "error": None}


WEBHOOKS: dict[str, tuple[str, Callable[[Item, Clock], Fields]]] = {
    "SYNC_UPDATES_AVAILABLE": (TRANSACTIONS, sync_updates_available),
    "RECURRING_TRANSACTIONS_UPDATE": (TRANSACTIONS, _recurring),
    "INITIAL_UPDATE": (TRANSACTIONS, _new_transactions),
    "HISTORICAL_UPDATE": (TRANSACTIONS, _new_transactions),
    "DEFAULT_UPDATE": (TRANSACTIONS, _new_transactions),
    "TRANSACTIONS_REMOVED": (TRANSACTIONS, _removed),
    "ERROR": (ITEM, _error),
    "LOGIN_REPAIRED": (ITEM, _nothing),
    "NEW_ACCOUNTS_AVAILABLE": (ITEM, _no_error),
    "PENDING_EXPIRATION": (ITEM, _expiration),
    "PENDING_DISCONNECT": (ITEM, _disconnect),
    "USER_PERMISSION_REVOKED": (ITEM, _revoked),
    "USER_ACCOUNT_REVOKED": (ITEM, _account_revoked),
    "WEBHOOK_UPDATE_ACKNOWLEDGED": (ITEM, _url_acknowledged),
}
