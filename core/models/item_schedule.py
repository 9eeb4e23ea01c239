from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant


class ItemSchedule(Base):
    """What picking the due Items reads and writes, and no more: narrow, and the only place where the time is indexed.

    A trigger on `plaid_items` keeps one row an Item, whoever writes there. `due_at` is the Item's `next_sync_at` until
    a dispatcher claims it; then it is the moment at which a claim that came to nothing is taken up again.
    """

    __tablename__ = "item_schedules"

    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"), primary_key=True)
    # Null when only a person or a webhook can bring the Item back.
    due_at: Mapped[Instant | None]
    # Its sync is a backfill.
    never_synced: Mapped[bool]

    __table_args__ = (
        Index("ix_item_schedules_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        # What was claimed leaves dead entries where the index is read first: they may not pile up by the million.
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": 0.02}},
    )
