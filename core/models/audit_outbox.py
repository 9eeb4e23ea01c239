from uuid import UUID

from sqlalchemy import BigInteger, Identity
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Json


class AuditOutbox(Base):
    """An event on its way to the chain, written in the transaction of the change that it records."""

    __tablename__ = "audit_outbox"

    # In order of insertion: whoever saw a commit inserts after it, so causes come before their effects.
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    event_type: Mapped[str]
    occurred_at: Mapped[Instant]
    actor: Mapped[str]
    resource: Mapped[str | None]
    message: Mapped[str]
    context: Mapped[Json]
