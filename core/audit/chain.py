r"""The hash chain: each event's hash covers its content, its number and the hash before it.

`hash = SHA-256("manna-audit-v1\0" || prev_hash || canonical)`, where `canonical` is the JSON array of the
event's fields with sorted keys, no white space and UTF-8. The first event's `prev_hash` is 32 zero bytes. An
edit, a deletion, an insertion or an exchange changes a hash or leaves a gap; a cut tail disagrees with the head.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

DOMAIN = b"manna-audit-v1\0"
GENESIS = bytes(32)

# The same bytes as `json.dumps(…, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`, ten times as fast.
_encode = msgspec.json.Encoder(order="sorted").encode


class Content(msgspec.Struct, frozen=True, gc=False):
    """The content of an event, as the writer put it into the outbox."""

    event_id: UUID
    event_type: str
    occurred_at: datetime
    actor: str
    resource: str | None
    message: str
    context: dict[str, Any]


def content_of(fields: Iterable[Any], context: str) -> Content:
    """Return an event's content from the table's columns, of which the context still is text."""
    return Content(*fields, msgspec.json.decode(context))  # type: ignore[call-arg]  # mypy takes the star for all


class SealedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event in the chain, in the order of the table's columns."""

    seq: int
    sealed_at: datetime
    content: Content
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the number and hash of the last event up to here."""

    seq: int = 0
    hash: bytes = GENESIS

    def next(self, event: Content) -> "Link":
        """Return the link that `event` makes when it is sealed after this one."""
        payload = canonical(self.seq + 1, event)
        return Link(self.seq + 1, hashlib.sha256(DOMAIN + self.hash + payload).digest())


def canonical(seq: int, event: Content) -> bytes:
    """Return the one byte string that stands for an event at its place."""
    fields = (seq, str(event.event_id), event.event_type, instant(event.occurred_at))
    return _encode((*fields, event.actor, event.resource, event.message, event.context))


def instant(moment: datetime) -> str:
    """Return a time as the chain writes it: ISO 8601 with microseconds, in UTC."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    # Without its zone a time is written three times as fast.
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "+00:00"


def broken_at(event: SealedEvent, before: Link, following: Link) -> str | None:
    """Return what is wrong with an event that should come after `before` and be `following`, or None."""
    if event.seq < following.seq:
        return f"event {event.seq} stands there twice"
    if event.seq > following.seq:
        return f"event {following.seq} is missing: {event.seq} stands in its place"
    if event.prev_hash != before.hash or event.hash != following.hash:
        return f"event {event.seq} is not what was sealed"
    return None
