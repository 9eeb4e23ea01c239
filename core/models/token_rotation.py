from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now, OurId, one_of, words


class TokenRotationStatus(StrEnum):
    """How a token rotation stands; `started` means that nobody knows yet which of two tokens is the valid one."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class TokenRotation(Base):
    """The intent to replace an Item's access token, written before Plaid is asked: what a crash leaves to settle."""

    __tablename__ = "token_rotations"

    id: Mapped[OurId]
    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"))
    status: Mapped[TokenRotationStatus] = mapped_column(words(TokenRotationStatus), default=TokenRotationStatus.STARTED)
    started_at: Mapped[Now]
    finished_at: Mapped[Instant | None]
    error_code: Mapped[str | None]

    __table_args__ = (
        one_of("status", TokenRotationStatus),
        Index("uq_token_rotations_open", "item_id", unique=True, postgresql_where=text("status = 'started'")),
    )
