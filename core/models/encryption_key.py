from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.encryption.keyring import KeyStatus
from core.models.columns import Instant, Now, one_of, words


class EncryptionKey(Base):
    """What all processes agree on about a key: how it stands and how often it has sealed. Never the key itself."""

    __tablename__ = "encryption_keys"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[KeyStatus] = mapped_column(words(KeyStatus))
    uses: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    added_at: Mapped[Now]
    promoted_at: Mapped[Instant | None]
    retired_at: Mapped[Instant | None]
    destroyed_at: Mapped[Instant | None]

    __table_args__ = (
        one_of("status", KeyStatus),
        Index("uq_encryption_keys_active", "status", unique=True, postgresql_where=text("status = 'active'")),
    )
