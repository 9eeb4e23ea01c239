"""Writes events as JSON lines: whole, as the chain has them, or as OCSF."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from core.audit.chain import SealedEvent, instant
from core.audit.ocsf import to_ocsf


class ExportFormat(StrEnum):
    """The formats of an export."""

    OCSF = "ocsf"
    NDJSON = "ndjson"


def as_fields(event: SealedEvent) -> dict[str, Any]:
    """Return every field of an event as JSON carries it, hashes in hex: what verification needs, and no less."""
    content = event.content
    return {
        "seq": event.seq,
        "event_id": str(content.event_id),
        "event_type": content.event_type,
        "occurred_at": instant(content.occurred_at),
        "actor": content.actor,
        "resource": content.resource,
        "message": content.message,
        "context": content.context,
        "sealed_at": instant(event.sealed_at),
        "prev_hash": event.prev_hash.hex(),
        "hash": event.hash.hex(),
    }


WRITERS: dict[ExportFormat, Callable[[SealedEvent], dict[str, Any]]] = {
    ExportFormat.OCSF: to_ocsf,
    ExportFormat.NDJSON: as_fields,
}


def as_lines(events: list[SealedEvent], kind: ExportFormat) -> bytes:
    """Return events as lines of `kind`."""
    return b"".join(msgspec.json.encode(WRITERS[kind](event)) + b"\n" for event in events)
