import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from core.database import Database
from core.errors import NotFoundError
from core.models import PlaidItem, Transaction
from core.queries.pages import Page, fetch_page


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """What a transaction must fit; None fits all. Dates are the bank's calendar days, both ends included."""

    account_id: str | None = None
    start_date: dt.date | None = None
    end_date: dt.date | None = None
    pending: bool | None = None
    include_removed: bool = False


async def find_transactions(
    database: Database, item_id: UUID, wanted: TransactionFilter, limit: int, cursor: str | None = None
) -> Page:
    """Return a page of an Item's transactions, latest day first.

    Raises:
        NotFoundError: there is no such Item.
    """
    async with database.connection() as connection:
        if (await connection.execute(select(PlaidItem.id).where(PlaidItem.id == item_id))).first() is None:
            raise NotFoundError(f"there is no Item {item_id}")
    query = select(Transaction.__table__).where(Transaction.item_id == item_id)
    if not wanted.include_removed:
        query = query.where(Transaction.removed_at.is_(None))
    if wanted.account_id is not None:
        query = query.where(Transaction.account_id == wanted.account_id)
    if wanted.start_date is not None:
        query = query.where(Transaction.date >= wanted.start_date)
    if wanted.end_date is not None:
        query = query.where(Transaction.date <= wanted.end_date)
    if wanted.pending is not None:
        query = query.where(Transaction.pending.is_(wanted.pending))
    return await fetch_page(database, query, [Transaction.date, Transaction.transaction_id], limit, cursor)
