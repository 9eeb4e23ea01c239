from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now


class KeyringReport(Base):
    """A live process's word on which keys it has and which of them it seals with; old reports are of dead ones."""

    __tablename__ = "keyring_reports"

    process_id: Mapped[UUID] = mapped_column(primary_key=True)
    process: Mapped[str]
    key_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    primary_key_id: Mapped[str]
    started_at: Mapped[Now]
    reported_at: Mapped[Instant]
