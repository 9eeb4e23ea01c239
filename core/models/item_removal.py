from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now


class ItemRemoval(Base):
    """A removal that Plaid has to agree to: wanted since `requested_at`, done once `removed_at` is set."""

    __tablename__ = "item_removals"

    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"), primary_key=True)
    requested_by: Mapped[str]
    requested_at: Mapped[Now]
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    next_attempt_at: Mapped[Now]
    error_code: Mapped[str | None]
    removed_at: Mapped[Instant | None]

    __table_args__ = (Index("ix_item_removals_due", "next_attempt_at", postgresql_where=text("removed_at IS NULL")),)
