from sqlalchemy import BigInteger, CheckConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Now


class AuditChain(Base):
    """The chain's head, a single row: its lock makes one consumer at a time, its figures betray a cut tail."""

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[Now]

    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)
