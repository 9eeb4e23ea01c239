from decimal import Decimal
from uuid import UUID

from sqlalchemy import ForeignKey, Numeric
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now


class Account(Base):
    """An account of an Item with the balances that Plaid told last; balances are in the account's currency."""

    __tablename__ = "accounts"

    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[str] = mapped_column(primary_key=True)
    persistent_account_id: Mapped[str | None]
    name: Mapped[str]
    official_name: Mapped[str | None]
    mask: Mapped[str | None]
    type: Mapped[str]
    subtype: Mapped[str | None]
    verification_status: Mapped[str | None]
    holder_category: Mapped[str | None]
    balance_available: Mapped[Decimal | None] = mapped_column(Numeric)
    balance_current: Mapped[Decimal | None] = mapped_column(Numeric)
    balance_limit: Mapped[Decimal | None] = mapped_column(Numeric)
    iso_currency_code: Mapped[str | None]
    unofficial_currency_code: Mapped[str | None]
    balance_last_updated_at: Mapped[Instant | None]
    # When the user took this one account back (USER_ACCOUNT_REVOKED).
    revoked_at: Mapped[Instant | None]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]
