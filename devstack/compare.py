"""Compares every standing row with the simulator's ledger, field by field, from SQL."""

from collections.abc import Iterator
from typing import Any

import asyncpg  # noqa: TC002 - read at run time
import httpx

# The row as Plaid would write it; jsonb compares numbers by value, so no digit is lost and none has to match.
PLAIN = (
    "account_id",
    "account_owner",
    "amount",
    "authorized_date",
    "check_number",
    "date",
    "iso_currency_code",
    "logo_url",
    "merchant_entity_id",
    "merchant_name",
    "name",
    "original_description",
    "payment_channel",
    "pending",
    "pending_transaction_id",
    "transaction_code",
    "transaction_type",
    "unofficial_currency_code",
    "website",
    "location",
    "payment_meta",
    "counterparties",
    "personal_finance_category_icon_url",
)
CATEGORY = "personal_finance_category"
QUERY = f"""
WITH truth AS (SELECT value AS document FROM jsonb_array_elements(CAST($2 AS jsonb) -> 'transactions')),
stored AS (
    SELECT transactions.transaction_id, to_jsonb(transactions) AS row FROM transactions
    JOIN plaid_items ON plaid_items.id = transactions.item_id
    WHERE plaid_items.plaid_item_id = $1 AND removed_at IS NULL
)
SELECT coalesce(stored.transaction_id, document ->> 'transaction_id') AS transaction_id,
    CASE WHEN stored.row IS NULL THEN 'missing' WHEN document IS NULL THEN 'extra' ELSE 'changed' END AS what
FROM stored FULL JOIN truth ON document ->> 'transaction_id' = stored.transaction_id
WHERE stored.row IS NULL OR document IS NULL
    OR {" OR ".join(f"stored.row -> '{name}' IS DISTINCT FROM document -> '{name}'" for name in PLAIN)}
    OR (stored.row ->> 'datetime')::timestamptz IS DISTINCT FROM (document ->> 'datetime')::timestamptz
    OR stored.row ->> '{CATEGORY}_primary' IS DISTINCT FROM document #>> '{{{CATEGORY},primary}}'
    OR stored.row ->> '{CATEGORY}_detailed' IS DISTINCT FROM document #>> '{{{CATEGORY},detailed}}'
"""  # noqa: S608 - constants


async def differences(connection: "asyncpg.Connection[Any]", simulator_url: str, item_id: str) -> list[str]:
    """Return one line for each row of an Item that is missing, extra or changed; `item_id` is Plaid's."""
    async with httpx.AsyncClient(base_url=simulator_url, timeout=60) as client:
        answer = await client.post("/control/ledger", json={"item_id": item_id})
    return list(_lines(item_id, await connection.fetch(QUERY, item_id, answer.text)))


def _lines(item_id: str, rows: list[Any]) -> Iterator[str]:
    for row in rows:
        yield f"item {item_id}: transaction {row['transaction_id']} is {row['what']}"
