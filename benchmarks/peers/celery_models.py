"""What tutorials show: a Celery prefork worker, plaid-python's models, SQLAlchemy; the cursor with the rows.

`celery -A benchmarks.peers.celery_models worker`; `BENCH_WRITE` is `orm` (session.merge of each row) or `core` (one
upsert a page).
"""

import os
from decimal import Decimal
from typing import Any

import plaid
from celery import Celery
from plaid.api.plaid_api import PlaidApi
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from sqlalchemy import Boolean, Date, DateTime, Index, Integer, Numeric, Text, create_engine, delete, make_url
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.work import access_token

app = Celery("models", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
engine = create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"))
configuration = plaid.Configuration(host=os.environ["PLAID_URL"], api_key={"clientId": "bench", "secret": "bench"})
client = PlaidApi(plaid.ApiClient(configuration))


class Base(DeclarativeBase):
    """The root of the models."""


class Item(Base):
    """An Item and its cursor."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    cursor: Mapped[str | None]


class Transaction(Base):
    """A transaction with the fields of Plaid's example."""

    __tablename__ = "rows"
    transaction_id: Mapped[str] = mapped_column(Text, primary_key=True)
    item: Mapped[int] = mapped_column(Integer)
    account_id: Mapped[str]
    account_owner: Mapped[str | None]
    amount: Mapped[Decimal] = mapped_column(Numeric)
    authorized_date: Mapped[Any] = mapped_column(Date, nullable=True)
    authorized_datetime: Mapped[Any] = mapped_column(DateTime(timezone=True), nullable=True)
    category: Mapped[Any] = mapped_column(JSONB, nullable=True)
    category_id: Mapped[str | None]
    check_number: Mapped[str | None]
    counterparties: Mapped[Any] = mapped_column(JSONB, nullable=True)
    date: Mapped[Any] = mapped_column(Date)
    datetime: Mapped[Any] = mapped_column(DateTime(timezone=True), nullable=True)
    iso_currency_code: Mapped[str | None]
    location: Mapped[Any] = mapped_column(JSONB, nullable=True)
    logo_url: Mapped[str | None]
    merchant_entity_id: Mapped[str | None]
    merchant_name: Mapped[str | None]
    name: Mapped[str | None]
    original_description: Mapped[str | None]
    payment_channel: Mapped[str | None]
    payment_meta: Mapped[Any] = mapped_column(JSONB, nullable=True)
    pending: Mapped[bool] = mapped_column(Boolean)
    pending_transaction_id: Mapped[str | None]
    personal_finance_category: Mapped[Any] = mapped_column(JSONB, nullable=True)
    personal_finance_category_icon_url: Mapped[str | None]
    transaction_code: Mapped[str | None]
    transaction_type: Mapped[str | None]
    unofficial_currency_code: Mapped[str | None]
    website: Mapped[str | None]
    __table_args__ = (Index("rows_by_date", "item", date.desc()),)


FIELDS = [column.name for column in Transaction.__table__.columns if column.name != "item"]


def _fields(item: int, transaction: Any) -> dict[str, Any]:
    document = transaction.to_dict()
    document["amount"] = Decimal(str(document["amount"]))
    return {"item": item, **{name: document.get(name) for name in FIELDS}}


def write_orm(session: Session, rows: list[dict[str, Any]]) -> None:
    """Merge each row."""
    for row in rows:
        session.merge(Transaction(**row))


def write_core(session: Session, rows: list[dict[str, Any]]) -> None:
    """Upsert the rows by one statement."""
    if rows:
        statement = insert(Transaction)
        changes = {name: statement.excluded[name] for name in FIELDS if name != "transaction_id"}
        statement = statement.on_conflict_do_update(index_elements=["transaction_id"], set_=changes)
        session.execute(statement, rows)


write = {"orm": write_orm, "core": write_core}[os.environ.get("BENCH_WRITE", "orm")]


@app.task(name="sync")
def sync(item: int) -> None:
    """Bring an Item up to date, page by page, each committed with its cursor."""
    with Session(engine) as session:
        stored = session.get_one(Item, item)
        has_more = True
        while has_more:
            request = TransactionsSyncRequest(access_token=access_token(item), cursor=stored.cursor or "", count=500)
            page = client.transactions_sync(request)
            write(session, [_fields(item, transaction) for transaction in (*page.added, *page.modified)])
            gone = [removed.transaction_id for removed in page.removed]
            session.execute(delete(Transaction).where(Transaction.transaction_id.in_(gone)))
            stored.cursor, has_more = page.next_cursor, page.has_more
            session.commit()


def create() -> None:
    """Make the tables and the Items."""
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all(Item(id=number) for number in range(int(os.environ["BENCH_ITEMS"])))


if __name__ == "__main__":
    create()
