"""Compares every standing row with the simulator's ledger, field by field, from SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
PAIRS = {
    **{name: (f"stored.row -> '{name}'", f"document -> '{name}'") for name in PLAIN},
    "datetime": ("(stored.row ->> 'datetime')::timestamptz", "(document ->> 'datetime')::timestamptz"),
    f"{CATEGORY}_primary": (f"stored.row ->> '{CATEGORY}_primary'", f"document #>> '{{{CATEGORY},primary}}'"),
    f"{CATEGORY}_detailed": (f"stored.row ->> '{CATEGORY}_detailed'", f"document #>> '{{{CATEGORY},detailed}}'"),
}
WRONG = ", ".join(
    f"CASE WHEN {ours} IS DISTINCT FROM {theirs} THEN '{name}' END" for name, (ours, theirs) in PAIRS.items()
)
QUERY = f"""
WITH truth AS (SELECT value AS document FROM jsonb_array_elements(CAST($2 AS jsonb) -> 'transactions')),
stored AS (
    SELECT transactions.transaction_id, to_jsonb(transactions) AS row FROM transactions
    JOIN plaid_items ON plaid_items.id = transactions.item_id
    WHERE plaid_items.plaid_item_id = $1 AND removed_at IS NULL
),
pairs AS (
    SELECT coalesce(stored.transaction_id, document ->> 'transaction_id') AS transaction_id,
        CASE
            WHEN stored.row IS NULL THEN 'is missing'
            WHEN document IS NULL THEN 'is not in the ledger'
            ELSE 'differs in ' || nullif(concat_ws(', ', {WRONG}), '')
        END AS problem
    FROM stored FULL JOIN truth ON document ->> 'transaction_id' = stored.transaction_id
)
SELECT transaction_id, problem FROM pairs ORDER BY problem, transaction_id
"""  # noqa: S608 - constants
ITEMS = "SELECT plaid_item_id FROM plaid_items WHERE status NOT IN ('revoked', 'removed') ORDER BY plaid_item_id"
FOUND = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many Items and rows were compared, and one line for each row that is missing, extra or changed."""

    items: int
    rows: int
    differences: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether something was compared and nothing differed."""
        return self.items > 0 and not self.differences


async def compare(connection: Any, simulator_url: str, item_ids: Sequence[str] = ()) -> Comparison:
    """Compare the Items of Plaid's ids `item_ids`, or every Item that is synced when none is named."""
    chosen = item_ids or [row["plaid_item_id"] for row in await connection.fetch(ITEMS)]
    rows, found = 0, list[str]()
    async with httpx.AsyncClient(base_url=simulator_url, timeout=60) as client:
        for item_id in chosen:
            answer = await client.post("/control/ledger", json={"item_id": item_id})
            if answer.status_code != FOUND:
                found.append(f"item {item_id}: the simulator has no such Item")
                continue
            pairs = await connection.fetch(QUERY, item_id, answer.text)
            rows += len(pairs)
            found += [
                f"item {item_id}: transaction {p['transaction_id']} {p['problem']}" for p in pairs if p["problem"]
            ]
    return Comparison(len(chosen), rows, tuple(found))
