r"""The hash chain: each event's hash covers its content, its number and the hash before it.

`hash = SHA-256("manna-audit-v1\\0" || prev_hash || canonical)`, where `canonical` is the JSON array of the
event's fields with sorted keys, no white space and UTF-8. The first event's `prev_hash` is 32 zero bytes. An
edit, a deletion, an insertion or an exchange changes a hash or leaves a gap; a cut tail disagrees with the head.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

DOMAIN = b"manna-audit-v1\0"
GENESIS = bytes(32)


class Recorded(Protocol):
    """The content of an event, in the outbox and in the chain alike."""

    @property
    def event_id(self) -> UUID:
        """Ours, made by the writer."""

    @property
    def event_type(self) -> str:
        """`source:subject:action`."""

    @property
    def occurred_at(self) -> datetime:
        """When it happened, UTC."""

    @property
    def actor(self) -> str:
        """Who did it."""

    @property
    def resource(self) -> str | None:
        """What it was done to."""

    @property
    def message(self) -> str:
        """For people."""

    @property
    def context(self) -> dict[str, Any]:
        """The circumstances."""


class Sealed(Recorded, Protocol):
    """An event in the chain."""

    @property
    def seq(self) -> int:
        """Its number, from 1, without a gap."""

    @property
    def prev_hash(self) -> bytes:
        """The hash before it."""

    @property
    def hash(self) -> bytes:
        """Its own."""


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the number and hash of the last event up to here."""

    seq: int = 0
    hash: bytes = GENESIS

    def next(self, event: Recorded) -> "Link":
        """Return the link that `event` makes when it is sealed after this one."""
        payload = canonical(self.seq + 1, event)
        return Link(self.seq + 1, hashlib.sha256(DOMAIN + self.hash + payload).digest())


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk along the chain found; `problem` is None when every link holds."""

    events: int
    head: Link
    problem: str | None = None


def canonical(seq: int, event: Recorded) -> bytes:
    """Return the one byte string that stands for an event at its place."""
    occurred = event.occurred_at.astimezone(UTC).isoformat(timespec="microseconds")
    fields = [seq, str(event.event_id), event.event_type, occurred]
    fields += [event.actor, event.resource, event.message, event.context]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify_links(events: Iterable[Sealed], start: Link) -> Verification:
    """Walk along the events from `start` and stop at the first that does not follow from the one before it."""
    link, seen = start, 0
    for event in events:
        following = link.next(event)
        if event.seq != following.seq:
            return Verification(seen, link, f"event {following.seq} is missing: {event.seq} stands in its place")
        if event.prev_hash != link.hash or event.hash != following.hash:
            return Verification(seen, link, f"event {event.seq} is not what was sealed")
        link, seen = following, seen + 1
    return Verification(seen, link)
