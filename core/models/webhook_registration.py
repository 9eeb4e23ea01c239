from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Now


class WebhookRegistration(Base):
    """An Item whose webhooks Plaid does not send here yet: the row is gone once it does."""

    __tablename__ = "webhook_registrations"

    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"), primary_key=True)
    requested_at: Mapped[Now]
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    next_attempt_at: Mapped[Now]
    error_code: Mapped[str | None]

    __table_args__ = (Index("ix_webhook_registrations_due", "next_attempt_at"),)
