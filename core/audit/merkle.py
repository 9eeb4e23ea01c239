r"""Merkle trees as RFC 6962, section 2.1, hashes them: leaves and nodes apart, so that neither passes for the other.

A leaf's data are the event's hash in the chain and the instant of its sealing (`instant_bytes`): the chain's
hash does not cover when an event was sealed, the checkpoint does.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def leaf_of(event_hash: bytes, sealed_at: datetime) -> bytes:
    """Return the hash of an event's leaf: `SHA-256(0x00 || hash || microseconds since 1970, 8 bytes)`."""
    return leaf(event_hash + ((sealed_at - EPOCH) // MICROSECOND).to_bytes(8, "big", signed=True))


def leaf(data: bytes) -> bytes:
    """Return a leaf's hash, `SHA-256(0x00 || data)`."""
    return hashlib.sha256(b"\0" + data).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; a node without a neighbour moves up as it is, which is RFC 6962's split."""
    if not leaves:
        return hashlib.sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        level = [*pairs, *level[len(pairs) * 2 :]]
    return level[0]
