"""The limit: the floor of the work itself, in one process, without lock, encryption, audit, run history or broker.

INITIAL hands each page to PostgreSQL as it came. INCREMENTAL decodes it, and commits one upsert, one delete and
the cursor for each Item, 64 in flight. Both write a table of 30 columns with one secondary index.
"""

import asyncio
import datetime as dt
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import asyncpg
import msgspec

from benchmarks.work import Work, access_token

IN_FLIGHT = {1: 8, 2: 64}
KEY = ("item", "transaction_id")
COLUMNS = {
    "transaction_id": "text",
    "account_id": "text",
    "account_owner": "text",
    "amount": "numeric",
    "authorized_date": "date",
    "authorized_datetime": "timestamptz",
    "category": "jsonb",
    "category_id": "text",
    "check_number": "text",
    "counterparties": "jsonb",
    "date": "date",
    "datetime": "timestamptz",
    "iso_currency_code": "text",
    "location": "jsonb",
    "logo_url": "text",
    "merchant_entity_id": "text",
    "merchant_name": "text",
    "name": "text",
    "original_description": "text",
    "payment_channel": "text",
    "payment_meta": "jsonb",
    "pending": "boolean",
    "pending_transaction_id": "text",
    "personal_finance_category": "jsonb",
    "personal_finance_category_icon_url": "text",
    "transaction_code": "text",
    "transaction_type": "text",
    "unofficial_currency_code": "text",
    "website": "text",
}
NAMES = ", ".join(COLUMNS)
TYPED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
UPDATES = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in KEY)
UPSERT = f"ON CONFLICT (item, transaction_id) DO UPDATE SET {UPDATES}"
TABLES = f"""
CREATE TABLE rows (item integer, {TYPED}, PRIMARY KEY (item, transaction_id));
CREATE INDEX rows_by_date ON rows (item, date DESC);
CREATE TABLE cursors (item integer PRIMARY KEY, cursor text);
"""
WHOLE_PAGE = f"""
INSERT INTO rows (item, {NAMES})
SELECT $1, {NAMES} FROM jsonb_to_recordset(CAST($2 AS jsonb) -> 'added') AS page ({TYPED}) {UPSERT}
"""  # noqa: S608 - constants
ARRAYS = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(COLUMNS.values(), 2))
DECODED = f"INSERT INTO rows (item, {NAMES}) SELECT $1, * FROM unnest({ARRAYS}) {UPSERT}"  # noqa: S608 - constants
DELETE = "DELETE FROM rows WHERE item = $1 AND transaction_id = ANY($2)"
CURSOR = "INSERT INTO cursors VALUES ($1, $2) ON CONFLICT (item) DO UPDATE SET cursor = excluded.cursor"
PYTHON_TYPES = {
    "numeric": Decimal,
    "date": dt.date | None,
    "timestamptz": dt.datetime | None,
    "boolean": bool,
    "text": str | None,
    # asyncpg takes jsonb as text, so it need not be taken apart here.
    "jsonb": msgspec.Raw,
}
Row = msgspec.defstruct("Row", [(name, PYTHON_TYPES[kind]) for name, kind in COLUMNS.items()], gc=False)


class Gone(msgspec.Struct):
    """A removed transaction."""

    transaction_id: str


class Head(msgspec.Struct):
    """The little that is read of a page which PostgreSQL takes apart."""

    next_cursor: str
    has_more: bool


class Page(Head, kw_only=True):
    """A page decoded as a whole."""

    added: list[Row]  # type: ignore[valid-type]  # a struct made from the list of columns
    modified: list[Row]  # type: ignore[valid-type]  # the same
    removed: list[Gone]


class Http:
    """Kept-alive connections that are read as bytes; no client library costs less."""

    def __init__(self, url: str) -> None:
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def page(self, item: int, cursor: str) -> bytes:
        """Return the raw page after a cursor."""
        body = b'{"access_token":"%s","cursor":"%s","count":500}' % (access_token(item).encode(), cursor.encode())
        head = b"POST /transactions/sync HTTP/1.1\r\nHost: plaid\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection = self._idle.pop() if self._idle else await self._connect()
        reader, writer = connection
        writer.write(head + body)
        length = int((await reader.readuntil(b"\r\n\r\n")).rsplit(b": ", 1)[1])
        content = await reader.readexactly(length)
        self._idle.append(connection)
        return content

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=2**21)


async def initial(pool: Any, http: Http, item: int) -> None:
    """Load an Item's history, a page and its cursor in one commit."""
    decode = msgspec.json.Decoder(Head).decode
    cursor, has_more = "", True
    while has_more:
        body = await http.page(item, cursor)
        head = decode(body)
        cursor, has_more = head.next_cursor, head.has_more
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(WHOLE_PAGE, item, body.decode())
            await connection.execute(CURSOR, item, cursor)


async def incremental(pool: Any, http: Http, item: int) -> None:
    """Bring an Item up to date from the end of round one, in one commit."""
    page = msgspec.json.decode(await http.page(item, Work(0, 0).cursor(item, 1)), type=Page)
    rows = [*page.added, *page.modified]
    columns = [[_plain(getattr(row, name)) for row in rows] for name in COLUMNS]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(DECODED, item, *columns)
        await connection.execute(DELETE, item, [gone.transaction_id for gone in page.removed])
        await connection.execute(CURSOR, item, page.next_cursor)


def _plain(value: Any) -> Any:
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value


ROUNDS: dict[int, Callable[[Any, Http, int], Awaitable[None]]] = {1: initial, 2: incremental}


async def do_round(pool: Any, http: Http, number: int, items: int) -> None:
    """Do a round with as many Items in flight as it takes."""
    waiting = iter(range(items))

    async def work() -> None:
        for item in waiting:
            await ROUNDS[number](pool, http, item)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT[number])))


async def orders() -> AsyncIterator[int]:
    """Yield each round that is asked for on standard input."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield int(line)


async def main() -> None:
    """Do what is asked for, round by round."""
    say, items = partial(print, flush=True), int(os.environ["BENCH_ITEMS"])
    http = Http(os.environ["PLAID_URL"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=16, max_size=16) as pool:
        await pool.execute(TABLES)
        say("ready")
        async for number in orders():
            await do_round(pool, http, number, items)
            say("done")


if __name__ == "__main__":
    asyncio.run(main())
