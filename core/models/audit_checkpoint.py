from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant


class AuditCheckpoint(Base):
    """A signed Merkle root over a stretch of the chain (`core.audit.checkpoints`); bytes are hex, as in exports.

    Insert-only, but for `exported_at`, which is set once: when the checkpoint has been written outside.
    """

    __tablename__ = "audit_checkpoints"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first_seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    last_seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    root: Mapped[str]
    chain_hash: Mapped[str]
    previous: Mapped[str]
    signed_at: Mapped[Instant]
    key_id: Mapped[str]
    signature: Mapped[str]
    exported_at: Mapped[Instant | None]
