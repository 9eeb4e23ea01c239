"""What is known about Items, without their tokens."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from core.database import Database
from core.errors import NotFoundError
from core.models import Account, ItemStatus, PlaidItem, SyncRun, Transaction

SHOWN = (
    PlaidItem.id,
    PlaidItem.user_id,
    PlaidItem.plaid_item_id,
    PlaidItem.institution_id,
    PlaidItem.status,
    PlaidItem.error_type,
    PlaidItem.error_code,
    PlaidItem.version,
    PlaidItem.last_synced_at,
    PlaidItem.next_sync_at,
)
RUNS_SHOWN = 10


async def list_items(database: Database, status: ItemStatus | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return up to `limit` Items, newest first, as plain fields; times are UTC."""
    query = select(*SHOWN).order_by(PlaidItem.id.desc()).limit(limit)
    if status is not None:
        query = query.where(PlaidItem.status == status)
    async with database.connection() as connection:
        return [dict(row._mapping) for row in await connection.execute(query)]


async def show_item(database: Database, item_id: UUID) -> dict[str, Any]:
    """Return an Item with its number of accounts and standing transactions, and its last ten runs.

    Raises:
        NotFoundError: there is no such Item.
    """
    async with database.connection() as connection:
        found = (await connection.execute(select(*SHOWN).where(PlaidItem.id == item_id))).first()
        if found is None:
            raise NotFoundError(f"there is no Item {item_id}; `manna items list` shows those that there are")
        accounts = select(func.count()).where(Account.item_id == item_id)
        standing = select(func.count()).where(Transaction.item_id == item_id, Transaction.removed_at.is_(None))
        runs = select(SyncRun.__table__).where(SyncRun.item_id == item_id)
        recent = await connection.execute(runs.order_by(SyncRun.started_at.desc()).limit(RUNS_SHOWN))
        return {
            **found._mapping,
            "accounts": (await connection.execute(accounts)).scalar_one(),
            "transactions": (await connection.execute(standing)).scalar_one(),
            "runs": [dict(run._mapping) for run in recent],
        }
