"""The vocabulary of the audit log: event types as `source:subject:action`, and an allow-list of context."""

from enum import StrEnum
from typing import Any

import msgspec


class AuditEventType(StrEnum):
    """What can be recorded."""

    ITEM_REGISTERED = "operator:item:registered"
    TOKEN_DECRYPTED = "plaid:token:decrypted"  # noqa: S105 - an event's name
    ITEM_SYNCED = "plaid:item:synced"
    SYNC_FAILED = "plaid:item:sync_failed"
    WEBHOOK_RECEIVED = "plaid:webhook:received"
    WEBHOOK_REJECTED = "plaid:webhook:rejected"


class AuditContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything that an event may say about its circumstances; ids, words and counts, never free text or secrets.

    Only strings, integers and booleans: their JSON form is the same for ever, which the hash chain needs.
    """

    run_id: str | None = None
    user_id: str | None = None
    institution_id: str | None = None
    trigger: str | None = None
    version: int | None = None
    pages: int | None = None
    added: int | None = None
    modified: int | None = None
    removed: int | None = None
    restarts: int | None = None
    error_type: str | None = None
    error_code: str | None = None
    verdict: str | None = None
    plaid_request_id: str | None = None
    webhook_type: str | None = None
    webhook_code: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields that were given."""
        given: dict[str, Any] = msgspec.to_builtins(self)
        return given
