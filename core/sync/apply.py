"""Writes one page with one statement: PostgreSQL takes the JSON apart, so no row ever becomes a Python object.

Added and modified are one upsert, removed becomes a tombstone, and what was removed and comes back stands again.
Within a page `removed` wins over both lists, `modified` over `added`, and the later of two equal ids.
"""

from functools import cache
from uuid import UUID

from sqlalchemy import Table, inspect, text
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
def _statement():  # type: ignore[no-untyped-def]  # noqa: ANN202 - SQLAlchemy's TextClause
    parts = _parts(Transaction.__table__, "transaction", _transaction_sources())  # type: ignore[arg-type]
    parts |= _parts(Account.__table__, "account", _account_sources())  # type: ignore[arg-type]
    return text(STATEMENT.format(**parts))
