from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Json


class AuditAlertState(Base):
    """How far the alert rules have looked along the chain, and their counts so far: a single row."""

    __tablename__ = "audit_alert_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    windows: Mapped[Json]

    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)
