"""Writes pages: PostgreSQL takes the JSON apart, so no row ever becomes a Python object.

Added and modified are one upsert, removed becomes a tombstone, and what was removed and comes back stands again.
Within a page `removed` wins over both lists, `modified` over `added`, and the later of two equal ids. A posted
transaction tombstones the pending one that it names, and a pending one that comes after it is born as a tombstone:
whichever way round Plaid tells them, the two never both count.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, FromClause, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from core.models import Account, Transaction

OURS = {"item_id", "removed_at", "revoked_at", "created_at", "updated_at"}
CATEGORY = "personal_finance_category"
CATEGORY_PARTS = ("primary", "detailed", "confidence_level", "version")
BALANCES = {
    "balance_available": "available",
    "balance_current": "current",
    "balance_limit": "limit",
    "iso_currency_code": "iso_currency_code",
    "unofficial_currency_code": "unofficial_currency_code",
    "balance_last_updated_at": "last_updated_datetime",
}

MANY_PAGES = """
    SELECT key, convert_from(document, 'UTF8')::jsonb AS body
    FROM unnest(CAST(:keys AS uuid[]), CAST(:bodies AS bytea[])) AS given (key, document)
"""
# A page of its own needs no array: a fifth of PostgreSQL's time for 500 transactions went into copying it about.
ONE_PAGE = "SELECT CAST(:key AS uuid) AS key, CAST(:body AS jsonb) AS body"
# What a page says, as rows: `said` are its transactions, `gone` its removals. Every statement begins like this.
READ = """
WITH page AS MATERIALIZED ({pages}),
gone AS (
    SELECT DISTINCT key, entry ->> 'transaction_id' AS transaction_id
    FROM page, jsonb_array_elements(body -> 'removed') AS entry
),
said AS (
    SELECT DISTINCT ON (key, transaction_id) field.*
    FROM (
        SELECT key, 0 AS list, field.* FROM page,
            ROWS FROM (jsonb_to_recordset(body -> 'added') AS ({transaction_fields})) WITH ORDINALITY AS field
        UNION ALL
        SELECT key, 1, field.* FROM page,
            ROWS FROM (jsonb_to_recordset(body -> 'modified') AS ({transaction_fields})) WITH ORDINALITY AS field
    ) AS field
    WHERE (key, transaction_id) NOT IN (SELECT key, transaction_id FROM gone)
    ORDER BY key, transaction_id, list DESC, ordinality DESC
),
"""
APPLY = """
ended AS (
    SELECT key, transaction_id FROM gone
    UNION
    SELECT key, pending_transaction_id FROM said WHERE pending_transaction_id <> transaction_id
),
upserted AS (
    INSERT INTO transactions (item_id, {transaction_columns}, removed_at)
    SELECT key, {transaction_values}, {born_removed}
    FROM said AS field
    WHERE (key, transaction_id) NOT IN (SELECT key, transaction_id FROM ended)
    ON CONFLICT (item_id, transaction_id)
    DO UPDATE SET {transaction_updates}, removed_at = excluded.removed_at, updated_at = now()
),
buried AS (
    UPDATE transactions SET removed_at = now(), updated_at = now()
    FROM ended
    WHERE transactions.item_id = key
        AND transactions.transaction_id = ended.transaction_id
        AND transactions.removed_at IS NULL
)
INSERT INTO accounts (item_id, {account_columns})
SELECT DISTINCT ON (key, field.account_id) key, {account_values}
FROM page, jsonb_array_elements(body -> 'accounts') AS document, jsonb_to_record(document) AS field ({account_fields})
ON CONFLICT (item_id, account_id) DO UPDATE SET {account_updates}, updated_at = now()
"""
BORN_REMOVED = """CASE WHEN field.pending AND EXISTS (
        SELECT FROM transactions AS posted
        WHERE posted.item_id = {key} AND posted.pending_transaction_id = field.transaction_id
            AND posted.transaction_id <> field.transaction_id AND posted.removed_at IS NULL
            AND {posted} NOT IN (SELECT {ended} FROM ended)
    ) THEN now() END"""


def born_removed(key: str, *, of_one_item: bool = False) -> str:
    """Return the `removed_at` of a row that is written: set for a pending one whose posted one stands already."""
    ended = ("posted.transaction_id", "transaction_id")
    if not of_one_item:
        ended = (f"({key}, posted.transaction_id)", "key, transaction_id")
    return BORN_REMOVED.format(key=key, posted=ended[0], ended=ended[1])


async def apply_pages(connection: AsyncConnection, pages: Sequence[tuple[UUID, bytes]]) -> None:
    """Write one page each of several Items into the caller's transaction; a second time changes nothing."""
    await execute_on_pages(connection, APPLY, pages)


async def execute_on_pages(
    connection: AsyncConnection, what: str, pages: Sequence[tuple[UUID, bytes]]
) -> CursorResult[Any]:
    """Execute what follows `READ` on pages, each given with its key: whose it is."""
    if len(pages) == 1:
        ((key, body),) = pages
        # What is no UTF-8 goes the other way, where PostgreSQL says so in its own words.
        with suppress(UnicodeDecodeError):
            return await connection.execute(_statement(ONE_PAGE, what), {"key": key, "body": body.decode()})
    given = {"keys": [key for key, _ in pages], "bodies": [body for _, body in pages]}
    return await connection.execute(_statement(MANY_PAGES, what), given)


@cache
def _statement(pages: str, what: str) -> TextClause:
    return text((READ + what).format(pages=pages, **parts(), born_removed=born_removed("key")))


@cache
def parts() -> dict[str, str]:
    """Return the column lists that the statements are made of, from the models."""
    transactions, accounts = Transaction.__mapper__.local_table, Account.__mapper__.local_table
    return {
        **_parts("transaction", transactions, _transaction_sources(), {CATEGORY: "jsonb"}),
        **_parts("account", accounts, _account_sources(), {"balances": "jsonb"}),
    }


def _transaction_sources() -> dict[str, str]:
    return {f"{CATEGORY}_{part}": f"field.{CATEGORY} ->> '{part}'" for part in CATEGORY_PARTS}


def _account_sources() -> dict[str, str]:
    types = {"balance_available": "numeric", "balance_current": "numeric", "balance_limit": "numeric"}
    types["balance_last_updated_at"] = "timestamptz"
    return {
        column: f"CAST(field.balances ->> '{key}' AS {types.get(column, 'text')})" for column, key in BALANCES.items()
    }


def _parts(name: str, table: FromClause, sources: dict[str, str], nested: dict[str, str]) -> dict[str, str]:
    """Return the column lists of a table: plain columns are read by their name, the others by their source."""
    columns = [column for column in table.columns if column.name not in OURS]
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    fields = {column.name: column.type.compile(dialect) for column in columns if column.name not in sources} | nested
    names = [f'"{column.name}"' for column in columns]
    keys = {"transaction_id", "account_id"} if name == "account" else {"transaction_id"}
    return {
        f"{name}_columns": ", ".join(names),
        f"{name}_values": ", ".join(sources.get(column.name, f'field."{column.name}"') for column in columns),
        f"{name}_fields": ", ".join(f'"{field}" {kind}' for field, kind in fields.items()),
        f"{name}_updates": ", ".join(
            f'"{column.name}" = excluded."{column.name}"' for column in columns if column.name not in keys
        ),
    }
