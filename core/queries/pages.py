"""Keyset pagination: a page costs the same wherever it lies, and rows that come meanwhile shift nothing."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from core.database import Database
from core.errors import InvalidCursorError

MAX_CURSOR_CHARACTERS = 1024
Key = InstrumentedAttribute[Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as plain fields, and the cursor to the next page; None on the last one."""

    data: list[dict[str, Any]]
    next_cursor: str | None


def encode_cursor(values: Sequence[Any]) -> str:
    """Return the opaque text that stands for the last row's keys."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(values))).rstrip(b"=").decode()


def decode_cursor(text: str, kinds: Sequence[Any]) -> tuple[Any, ...]:
    """Return the keys that a cursor stands for.

    Raises:
        InvalidCursorError: it was never given out, or by another listing.
    """
    try:
        if len(text) > MAX_CURSOR_CHARACTERS:
            raise InvalidCursorError
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        keys: tuple[Any, ...] = msgspec.json.decode(raw, type=tuple[tuple(kinds)])  # type: ignore[misc]  # made here
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidCursorError from None
    if any(isinstance(key, str) and "\0" in key for key in keys):
        raise InvalidCursorError
    return keys


async def fetch_page(
    database: Database, query: Select[*tuple[Any, ...]], keys: Sequence[Key], limit: int, cursor: str | None = None
) -> Page:
    """Return up to `limit` rows of a query, newest first along `keys`, whose last one is unique.

    Raises:
        InvalidCursorError: `cursor` is none of this listing's.
    """
    if cursor is not None:
        after = decode_cursor(cursor, [key.type.python_type for key in keys])
        bound = [literal(value, key.type) for value, key in zip(after, keys, strict=True)]
        query = query.where(tuple_(*keys) < tuple_(*bound))
    query = query.order_by(*(key.desc() for key in keys)).limit(limit + 1)
    async with database.connection() as connection:
        rows = [dict(row._mapping) for row in await connection.execute(query)]
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(shown, encode_cursor([shown[-1][key.key] for key in keys]) if more else None)
