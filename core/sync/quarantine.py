"""What cannot become a row is kept sealed beside, and the rest of its page goes on without it."""

import hashlib
from collections.abc import Iterable
from functools import cache
from uuid import UUID

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.database import Database
from core.encryption.column import sealed_values
from core.identity import new_id
from core.models import QuarantinedTransaction
from core.models.quarantined_transaction import MOST_CHARACTERS
from core.plaid.schemas import SHAPES, LoosePage, Rejected, loose_page, readable, without
from core.sync.apply import parts
from core.sync.pages import Pages

# PostgreSQL's classes for data that it cannot take: data exceptions, too long or too deep, an empty mandatory field.
UNSTORABLE = ("22", "54", "23502")
CHECK_TRANSACTIONS = "SELECT FROM jsonb_to_recordset(convert_from(:entries, 'UTF8')::jsonb) AS ({transaction_fields})"
CHECK_REMOVED = "SELECT convert_from(:entries, 'UTF8')::jsonb"
CHECK_ACCOUNTS = """
SELECT {account_values}
FROM jsonb_to_recordset(convert_from(:entries, 'UTF8')::jsonb) AS field ({account_fields})
"""


def is_unstorable(error: DBAPIError) -> bool:
    """Tell whether it is the data that PostgreSQL refused."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return state.startswith(UNSTORABLE)


async def sift(database: Database, pages: Pages) -> None:
    """Take out of the pages what PostgreSQL cannot read, entry by entry, into `pages.rejected`; a page at a time."""
    with Pages() as sifted:
        for body in pages:
            page = loose_page(body)
            rejected = await _unreadable(database, page)
            pages.rejected += rejected
            # Written anew in any case: what stands beside the lists is not ours, and may be the trouble.
            sifted.keep(without(page, rejected))
        pages.replace([])
        for body in sifted:
            pages.keep(body)


async def keep_rejected(connection: AsyncConnection, item_id: UUID, run_id: UUID, rejected: Iterable[Rejected]) -> None:
    """Put rejected entries into quarantine, in the caller's transaction; the same one is kept once."""
    for one in rejected:
        row = QuarantinedTransaction(
            id=new_id(),
            item_id=item_id,
            run_id=run_id,
            place=one.place,
            transaction_id=_id_of(one.body),
            reason=one.reason,
            body_sha256=hashlib.sha256(one.body).digest(),
        )
        row.body = one.body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")[:MOST_CHARACTERS]
        statement = insert(QuarantinedTransaction).values(sealed_values(row))
        await connection.execute(statement.on_conflict_do_nothing(index_elements=["item_id", "body_sha256"]))


def _id_of(body: bytes) -> str | None:
    try:
        found = msgspec.json.decode(readable(body), type=dict[str, msgspec.Raw])
        name = msgspec.json.decode(found["transaction_id"], type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    return name if name.isprintable() else None


async def _unreadable(database: Database, page: LoosePage) -> list[Rejected]:
    async with database.connection() as connection:
        return [
            Rejected(place, bytes(entry), reason)
            for place in SHAPES
            for entry, reason in await _search(connection, place, getattr(page, place))
        ]


async def _search(connection: AsyncConnection, place: str, entries: list[msgspec.Raw]) -> list[tuple[msgspec.Raw, str]]:
    """Return the entries that PostgreSQL refuses, by halves: the good half costs one statement."""
    if not entries or (reason := await _refusal(connection, place, entries)) is None:
        return []
    if len(entries) == 1:
        return [(entries[0], reason)]
    half = len(entries) // 2
    return [
        *await _search(connection, place, entries[:half]),
        *await _search(connection, place, entries[half:]),
    ]


async def _refusal(connection: AsyncConnection, place: str, entries: list[msgspec.Raw]) -> str | None:
    try:
        async with connection.begin_nested():
            await connection.execute(_check(place), {"entries": msgspec.json.encode(entries)})
    except DBAPIError as error:
        if not is_unstorable(error):
            raise
        return type(error.orig).__name__
    return None


@cache
def _check(place: str) -> TextClause:
    checks = {"accounts": CHECK_ACCOUNTS, "removed": CHECK_REMOVED}
    return text(checks.get(place, CHECK_TRANSACTIONS).format(**parts()))
