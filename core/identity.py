"""Ids and jitter, in one place so that tests can name what they replace."""

import random
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a fresh UUIDv7 (RFC 9562): made by the client, unique, and in order of time for the indexes."""
    return uuid7()


def first_id_at(moment: datetime) -> UUID:
    """Return the lowest UUIDv7 of a millisecond (RFC 9562, 5.7): no id made then or later is below it."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0x2 << 62))


def jittered(seconds: float, share: float = 0.1) -> float:
    """Return `seconds` moved at random by up to `share` either way, so that a fleet does not march in step."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - spreading load, not a secret
