"""The allow-list of what an event may say about its circumstances, and how free text is kept out of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from core.telemetry.redaction import redact_value

LONGEST_TEXT = 500
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# The largest integer that every reader of JSON understands (RFC 8259, section 6).
LARGEST_INTEGER = 2**53 - 1


class AuditContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything that an event may say about its circumstances; ids, words and counts, never free text or secrets.

    Only strings, integers and booleans: their JSON form is the same for ever, which the hash chain needs.
    """

    # Who asked, and from where.
    request_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    method: str | None = None
    route: str | None = None
    status: int | None = None
    subject: str | None = None
    scope: str | None = None
    token_id: str | None = None
    expires_at: str | None = None
    limit: str | None = None
    host: str | None = None
    # Items and syncs.
    run_id: str | None = None
    item_id: str | None = None
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
    item_status: str | None = None
    replay_id: str | None = None
    drift: int | None = None
    # Keys, secrets and configuration: names and ids, never values.
    key_id: str | None = None
    previous_key_id: str | None = None
    key_purpose: str | None = None
    secret_name: str | None = None
    setting: str | None = None
    fingerprint: str | None = None
    environment: str | None = None
    revision: str | None = None
    role: str | None = None
    table: str | None = None
    column: str | None = None
    # The audit log itself.
    partition: str | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    checkpoint: int | None = None
    rule: str | None = None
    severity: str | None = None
    window_seconds: int | None = None
    format: str | None = None
    filter: str | None = None
    # Of any kind.
    reason: str | None = None
    count: int | None = None
    failed: int | None = None
    remaining: int | None = None
    duration_ms: int | None = None
    dry_run: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields that were given, fit for the chain."""
        given: dict[str, Any] = msgspec.to_builtins(self)
        return {name: _plain(value) for name, value in given.items()}


FIELDS = {field.name: field.type for field in msgspec.structs.fields(AuditContext)}


def split_context(given: Mapping[str, Any]) -> tuple[AuditContext, list[str]]:
    """Return the part of `given` that the allow-list takes, and the names of what it does not.

    A name that is not listed is refused, and so is a listed one with a value of another type.
    """
    taken: dict[str, Any] = {}
    refused = []
    for name, value in given.items():
        if name in FIELDS and _fits(value, FIELDS[name]):
            taken[name] = value
        else:
            refused.append(clean(str(name)))
    return AuditContext(**taken), refused


def clean(text: str) -> str:
    """Return a text without secrets, control characters and broken Unicode, at most 500 characters of it.

    PostgreSQL takes neither NUL nor lone surrogates: a caller's header must not make an event unrecordable.
    """
    whole = text[:LONGEST_TEXT].encode("utf-8", "replace").decode()
    if not whole.isprintable():
        whole = "".join(character if character.isprintable() else REPLACEMENT for character in whole)
    masked: str = redact_value(whole)
    return masked


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-LARGEST_INTEGER, min(value, LARGEST_INTEGER))
    return clean(value)


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True
