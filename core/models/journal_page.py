from datetime import date
from uuid import UUID

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base

# The page that stands before the others: what is known of the update as a whole. Written last.
HEAD = 0


class JournalPage(Base):
    """A page of a sync as Plaid sent it, compressed and sealed, kept for days so that its run can be applied again.

    `version` is the Item's that the pages follow. Days are partitions, dropped whole. No foreign key: dropping one
    would lock the Items.
    """

    __tablename__ = "journal_pages"

    item_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    page: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    # The run's day in UTC.
    recorded_on: Mapped[date] = mapped_column(primary_key=True)
    version: Mapped[int]
    key_id: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = ({"postgresql_partition_by": "RANGE (recorded_on)"},)
