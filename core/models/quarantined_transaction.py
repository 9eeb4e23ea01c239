from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.encryption.column import EncryptedString
from core.models.columns import Now, OurId

# A transaction of Plaid's has about 2 kB; whatever is larger than this is not kept whole.
MOST_CHARACTERS = 65_536


class QuarantinedTransaction(Base):
    """Something in an answer of Plaid's that could not become a row, kept sealed until somebody has looked at it.

    `place` tells the list that it stood in; `body_sha256` keeps the same thing from being kept twice.
    """

    __tablename__ = "quarantined_transactions"

    id: Mapped[OurId]
    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"))
    run_id: Mapped[UUID]
    place: Mapped[str]
    transaction_id: Mapped[str | None]
    reason: Mapped[str]
    body_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    body: Mapped[str] = mapped_column(EncryptedString(MOST_CHARACTERS))
    created_at: Mapped[Now]

    __table_args__ = (UniqueConstraint("item_id", "body_sha256"),)
