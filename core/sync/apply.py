"""Writes one page with one statement: PostgreSQL takes the JSON apart, so no row ever becomes a Python object.

Added and modified are one upsert, removed becomes a tombstone, and what was removed and comes back stands again.
Within a page `removed` wins over both lists, `modified` over `added`, and the later of two equal ids.
"""

from functools import cache
from uuid import UUID

from sqlalchemy import FromClause, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from core.models import Account, Transaction

OURS = {"item_id", "removed_at", "created_at", "updated_at"}
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

STATEMENT = """
WITH page AS MATERIALIZED (SELECT CAST(:page AS jsonb) AS body),
gone AS (
    SELECT DISTINCT entry ->> 'transaction_id' AS transaction_id
    FROM page, jsonb_array_elements(body -> 'removed') AS entry
),
told AS (
    SELECT DISTINCT ON (document ->> 'transaction_id') document
    FROM (
        SELECT document, 0 AS list, place FROM page,
            jsonb_array_elements(body -> 'added') WITH ORDINALITY AS entry (document, place)
        UNION ALL
        SELECT document, 1, place FROM page,
            jsonb_array_elements(body -> 'modified') WITH ORDINALITY AS entry (document, place)
    ) AS lists
    WHERE document ->> 'transaction_id' NOT IN (SELECT transaction_id FROM gone)
    ORDER BY document ->> 'transaction_id', list DESC, place DESC
),
upserted AS (
    INSERT INTO transactions (item_id, {transaction_columns})
    SELECT :item_id, {transaction_values}
    FROM told, jsonb_to_record(document) AS field ({transaction_fields})
    ON CONFLICT (item_id, transaction_id)
    DO UPDATE SET {transaction_updates}, removed_at = NULL, updated_at = now()
),
buried AS (
    UPDATE transactions SET removed_at = now(), updated_at = now()
    FROM gone
    WHERE transactions.item_id = :item_id
        AND transactions.transaction_id = gone.transaction_id
        AND transactions.removed_at IS NULL
)
INSERT INTO accounts (item_id, {account_columns})
SELECT DISTINCT ON (field.account_id) :item_id, {account_values}
FROM page, jsonb_array_elements(body -> 'accounts') AS document, jsonb_to_record(document) AS field ({account_fields})
ON CONFLICT (item_id, account_id) DO UPDATE SET {account_updates}, updated_at = now()
"""


async def apply_page(session: AsyncSession, item_id: UUID, body: bytes) -> None:
    """Write a page's transactions and accounts into the caller's transaction; a second time changes nothing."""
    await session.execute(_statement(), {"page": body.decode(), "item_id": item_id})


@cache
def _statement() -> TextClause:
    transactions, accounts = Transaction.__mapper__.local_table, Account.__mapper__.local_table
    parts = {
        **_parts("transaction", transactions, _transaction_sources(), {CATEGORY: "jsonb"}),
        **_parts("account", accounts, _account_sources(), {"balances": "jsonb"}),
    }
    return text(STATEMENT.format(**parts))


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
