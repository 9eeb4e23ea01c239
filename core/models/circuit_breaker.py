from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now, one_of, words


class BreakerState(StrEnum):
    """Where a breaker stands: failures are counted, work is held back, or what was held back is let go."""

    COUNTING = "counting"
    OPEN = "open"
    RELEASING = "releasing"


class CircuitBreaker(Base):
    """What is known to be out of order: one institution, or our own standing with Plaid. No row: nothing is.

    `scope` is `institution:ID` or `plaid`. While it is open one Item at a time, `probe_item_id`, is tried.
    """

    __tablename__ = "circuit_breakers"

    scope: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[BreakerState] = mapped_column(words(BreakerState), server_default=BreakerState.COUNTING.value)
    failures: Mapped[int] = mapped_column(server_default=text("1"))
    error_type: Mapped[str]
    error_code: Mapped[str]
    opened_at: Mapped[Instant | None]
    probe_at: Mapped[Instant | None]
    probe_item_id: Mapped[UUID | None]
    updated_at: Mapped[Now]

    __table_args__ = (one_of("state", BreakerState),)
