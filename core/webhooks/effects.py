"""What each webhook does to its Item. A webhook is a hint: whatever can be asked of Plaid is asked, by a sync.

Source: Plaid, API, webhooks of Items and Transactions. They come twice, late and out of order, so an effect only ever
moves an Item towards what the next sync finds out anyway; the one that ends it, a revoked permission, is final there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func

from core.errors import ItemIsGoneError, UserMustActError
from core.items.notices import REPAIRED_VALUES, SYNC_VALUES
from core.models import ItemStatus, PlaidItem
from core.plaid.errors import classify

Payload = dict[str, Any]
MAX_WORD = 128


@dataclass(frozen=True, slots=True)
class Effect:
    """New column values of the Item, whether a sync follows, whether its access ends, and an account taken back."""

    values: dict[str, Any] = field(default_factory=dict)
    leads_to_sync: bool = False
    ends_access: bool = False
    revoked_account: str | None = None


NOTHING = Effect()
# Plaid announces this Item's changes: the schedule need not look often.
SYNC = Effect({**SYNC_VALUES, "webhook_seen_at": func.now()}, leads_to_sync=True)


def effect_of(webhook_type: str, webhook_code: str, payload: Payload) -> Effect:
    """Return what a verified webhook does; one that this version does not know is remembered and does nothing."""
    make = EFFECTS.get((webhook_type, webhook_code))
    return NOTHING if make is None else make(payload)


def _error(payload: Payload) -> Effect:
    told = payload.get("error")
    if not isinstance(told, dict):
        return SYNC
    error = classify(400, msgspec.json.encode(told))
    if isinstance(error, ItemIsGoneError):
        return _permission_revoked(payload)
    values = {"error_type": error.error_type[:MAX_WORD], "error_code": error.error_code[:MAX_WORD]}
    if isinstance(error, UserMustActError):
        values["status"] = ItemStatus.NEEDS_REAUTH
    return Effect({**values, **SYNC_VALUES}, leads_to_sync=True)


def _permission_revoked(_payload: Payload) -> Effect:
    values = {
        "status": ItemStatus.REVOKED,
        "error_type": "ITEM_ERROR",
        "error_code": "USER_PERMISSION_REVOKED",
        "next_sync_at": None,
        # A sync under way read what was allowed then; it must not set the Item active again.
        "version": PlaidItem.version + 1,
    }
    return Effect(values, ends_access=True)


def _access_ends(when_field: str, reason_field: str | None, reason: str) -> Callable[[Payload], Effect]:
    def make(payload: Payload) -> Effect:
        told = payload.get(reason_field) if reason_field else None
        word = told[:MAX_WORD] if isinstance(told, str) else reason
        return Effect({"access_ends_at": _instant(payload.get(when_field)), "access_ends_reason": word})

    return make


def _account_revoked(payload: Payload) -> Effect:
    account = payload.get("account_id")
    return Effect(revoked_account=account) if isinstance(account, str) else NOTHING


def _instant(told: object) -> datetime | None:
    try:
        return msgspec.convert(told, datetime) if isinstance(told, str) and told.endswith("Z") else None
    except msgspec.ValidationError:
        return None


EFFECTS: dict[tuple[str, str], Callable[[Payload], Effect]] = {
    ("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"): lambda _: SYNC,
    # Of the older /transactions/get, and of recurring streams, which are not kept: remembered, nothing to do.
    ("TRANSACTIONS", "INITIAL_UPDATE"): lambda _: NOTHING,
    ("TRANSACTIONS", "HISTORICAL_UPDATE"): lambda _: NOTHING,
    ("TRANSACTIONS", "DEFAULT_UPDATE"): lambda _: NOTHING,
    ("TRANSACTIONS", "TRANSACTIONS_REMOVED"): lambda _: NOTHING,
    ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE"): lambda _: NOTHING,
    ("ITEM", "ERROR"): _error,
    ("ITEM", "LOGIN_REPAIRED"): lambda _: Effect(REPAIRED_VALUES, leads_to_sync=True),
    ("ITEM", "NEW_ACCOUNTS_AVAILABLE"): lambda _: Effect({"new_accounts_at": func.now()}),
    ("ITEM", "PENDING_EXPIRATION"): _access_ends("consent_expiration_time", None, "CONSENT_EXPIRES"),
    ("ITEM", "PENDING_DISCONNECT"): _access_ends("disconnect_time", "reason", "DISCONNECT"),
    ("ITEM", "USER_PERMISSION_REVOKED"): _permission_revoked,
    ("ITEM", "USER_ACCOUNT_REVOKED"): _account_revoked,
    ("ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED"): lambda _: NOTHING,
}
