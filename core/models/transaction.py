import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Numeric, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now


class Transaction(Base):
    """A transaction as Plaid tells it, every documented field; it stands while `removed_at` is null.

    `amount` is in major units of the currency code that is not null, positive when money leaves the account.
    `date` is the bank's calendar day; instants are UTC. Source: Plaid, /transactions/sync, Transaction.
    """

    __tablename__ = "transactions"

    # Plaid's ids are unique, yet the Item leads: its rows lie together, and no answer for one Item can ever
    # overwrite the rows of another.
    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"), primary_key=True)
    transaction_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str]
    account_owner: Mapped[str | None]
    amount: Mapped[Decimal] = mapped_column(Numeric)
    iso_currency_code: Mapped[str | None]
    unofficial_currency_code: Mapped[str | None]
    check_number: Mapped[str | None]
    date: Mapped[dt.date]
    datetime: Mapped[Instant | None]
    authorized_date: Mapped[dt.date | None]
    authorized_datetime: Mapped[Instant | None]
    name: Mapped[str | None]
    original_description: Mapped[str | None]
    merchant_name: Mapped[str | None]
    merchant_entity_id: Mapped[str | None]
    merchant_category_code: Mapped[str | None]
    logo_url: Mapped[str | None]
    website: Mapped[str | None]
    pending: Mapped[bool]
    pending_transaction_id: Mapped[str | None]
    payment_channel: Mapped[str | None]
    transaction_code: Mapped[str | None]
    transaction_type: Mapped[str | None]
    running_balance: Mapped[Decimal | None] = mapped_column(Numeric)
    personal_finance_category_primary: Mapped[str | None]
    personal_finance_category_detailed: Mapped[str | None]
    personal_finance_category_confidence_level: Mapped[str | None]
    personal_finance_category_version: Mapped[str | None]
    personal_finance_category_icon_url: Mapped[str | None]
    category_id: Mapped[str | None]
    category: Mapped[Any | None] = mapped_column(JSONB)
    location: Mapped[Any | None] = mapped_column(JSONB)
    payment_meta: Mapped[Any | None] = mapped_column(JSONB)
    counterparties: Mapped[Any | None] = mapped_column(JSONB)
    removed_at: Mapped[Instant | None]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]

    __table_args__ = (
        # A posted transaction finds the pending one that it stands for, whichever of them comes first.
        Index(
            "ix_transactions_pending_link",
            "item_id",
            "pending_transaction_id",
            postgresql_where=text("pending_transaction_id IS NOT NULL"),
        ),
        Index(
            "ix_transactions_item_id_date",
            "item_id",
            text("date DESC"),
            postgresql_where=text("removed_at IS NULL"),
        ),
    )
