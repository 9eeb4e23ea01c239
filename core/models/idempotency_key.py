from sqlalchemy import LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Json, Now


class IdempotencyKey(Base):
    """A POST that shall have its effect once: `fingerprint` is over what was asked, `status` null while it runs."""

    __tablename__ = "idempotency_keys"

    subject: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    answer: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Now] = mapped_column(index=True)
