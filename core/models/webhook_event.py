from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Json, Now, OurId


class WebhookEvent(Base):
    """A verified webhook, remembered once. `item_id` is null when Plaid speaks of an Item that we do not have.

    `delivery_key` is the SHA-256 of the verified token's `iat` and body hash: equal bodies repeat legitimately,
    equal signed statements are a replay.
    """

    __tablename__ = "webhook_events"

    id: Mapped[OurId]
    delivery_key: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    webhook_type: Mapped[str]
    webhook_code: Mapped[str]
    plaid_item_id: Mapped[str | None] = mapped_column(index=True)
    item_id: Mapped[UUID | None] = mapped_column(ForeignKey("plaid_items.id", ondelete="SET NULL"))
    payload: Mapped[Json]
    issued_at: Mapped[Instant]
    received_at: Mapped[Now]

    # An Item's webhooks, newest first; and its removal need not read them all.
    __table_args__ = (Index("ix_webhook_events_item_id_id", "item_id", "id"),)
