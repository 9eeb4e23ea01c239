from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select

from core.database import Database
from core.errors import NotFoundError
from core.models import Account, ItemRemoval, ItemStatus, PlaidItem, SyncRun, Transaction
from core.queries.pages import Page, fetch_page

SHOWN = (
    PlaidItem.id,
    PlaidItem.user_id,
    PlaidItem.plaid_item_id,
    PlaidItem.institution_id,
    PlaidItem.status,
    PlaidItem.error_type,
    PlaidItem.error_code,
    PlaidItem.version,
    PlaidItem.consecutive_failures,
    PlaidItem.last_synced_at,
    PlaidItem.next_sync_at,
    PlaidItem.parked_at,
    PlaidItem.sync_requested_at,
    PlaidItem.access_ends_at,
    PlaidItem.access_ends_reason,
    PlaidItem.new_accounts_at,
    PlaidItem.created_at,
)
RUNS_SHOWN = 10
IDS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """What an Item must fit; None fits all. `text` is an id of ours, or how one of the other ids begins."""

    status: ItemStatus | None = None
    user_id: str | None = None
    institution_id: str | None = None
    error_code: str | None = None
    text: str | None = None


async def find_items(database: Database, wanted: ItemFilter, limit: int, cursor: str | None = None) -> Page:
    """Return a page of Items, without tokens and cursors; times are UTC."""
    query = select(*SHOWN)
    for name in ("status", "user_id", "institution_id", "error_code"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(PlaidItem, name) == value)
    if wanted.text is not None:
        query = query.where(_has_id(wanted.text))
    return await fetch_page(database, query, [PlaidItem.id], limit, cursor)


async def ensure_known(database: Database, item_ids: Sequence[UUID]) -> None:
    """Return if there are all of these Items, so that nothing is begun that ends halfway for a mistyped id.

    Raises:
        NotFoundError: it names one that there is not.
    """
    found = set[UUID]()
    async with database.connection() as connection:
        for start in range(0, len(item_ids), IDS_AT_ONCE):
            batch = select(PlaidItem.id).where(PlaidItem.id.in_(item_ids[start : start + IDS_AT_ONCE]))
            found.update((await connection.execute(batch)).scalars())
    unknown = next((item_id for item_id in item_ids if item_id not in found), None)
    if unknown is not None:
        raise NotFoundError(f"there is no Item {unknown}; `manna items list` shows those that there are")


def _has_id(text: str) -> ColumnElement[bool]:
    try:
        return PlaidItem.id == UUID(text)
    except ValueError:
        columns = (PlaidItem.user_id, PlaidItem.plaid_item_id, PlaidItem.institution_id)
        return or_(*(column.startswith(text, autoescape=True) for column in columns))


async def read_item(database: Database, item_id: UUID) -> dict[str, Any]:
    """Return an Item with its accounts, its number of standing transactions, its last ten runs, and its removal.

    Raises:
        NotFoundError: there is no such Item.
    """
    runs = select(SyncRun.__table__).where(SyncRun.item_id == item_id).order_by(SyncRun.started_at.desc())
    accounts = select(Account.__table__).where(Account.item_id == item_id).order_by(Account.account_id)
    standing = select(func.count()).where(Transaction.item_id == item_id, Transaction.removed_at.is_(None))
    removal = select(ItemRemoval.removed_at, ItemRemoval.attempts, ItemRemoval.error_code)
    async with database.connection() as connection:
        found = (await connection.execute(select(*SHOWN).where(PlaidItem.id == item_id))).first()
        if found is None:
            raise NotFoundError(f"there is no Item {item_id}; `manna items list` shows those that there are")
        asked = (await connection.execute(removal.where(ItemRemoval.item_id == item_id))).first()
        return {
            **found._mapping,
            "accounts": [dict(row._mapping) for row in await connection.execute(accounts)],
            "transactions": (await connection.execute(standing)).scalar_one(),
            "runs": [dict(row._mapping) for row in await connection.execute(runs.limit(RUNS_SHOWN))],
            "removal": dict(asked._mapping) if asked else None,
        }
