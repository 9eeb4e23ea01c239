from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Now, OurId, one_of, words


class SyncTrigger(StrEnum):
    """Who asked for a sync."""

    SCHEDULED = "scheduled"
    WEBHOOK = "webhook"
    MANUAL = "manual"
    REPLAY = "replay"
    BACKFILL = "backfill"

    @property
    def is_notice(self) -> bool:
        """Whether it says that there is something new, so that a sync under way must be followed by one more."""
        return self in {SyncTrigger.WEBHOOK, SyncTrigger.MANUAL}


class RunStatus(StrEnum):
    """How a run stands; only `running` can still change."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class SyncRun(Base):
    """One attempt to bring one Item up to date: what it did, or why it did not. Counts are Plaid's, not rows'."""

    __tablename__ = "sync_runs"

    id: Mapped[OurId]
    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"))
    trigger: Mapped[SyncTrigger] = mapped_column(words(SyncTrigger))
    status: Mapped[RunStatus] = mapped_column(words(RunStatus), default=RunStatus.RUNNING)
    started_at: Mapped[Now]
    finished_at: Mapped[Instant | None]
    pages: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    added: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    modified: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    removed: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    restarts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    quarantined: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    # Pulled from the empty cursor: whatever Plaid did not name again was tombstoned.
    full_pull: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    attempt: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    # The Item's version after this run's commit: what ties a run to exactly one move of the cursor.
    committed_version: Mapped[int | None]
    error_type: Mapped[str | None]
    error_code: Mapped[str | None]
    plaid_request_id: Mapped[str | None]

    __table_args__ = (
        one_of("trigger", SyncTrigger),
        one_of("status", RunStatus),
        Index("ix_sync_runs_item_id_started_at", "item_id", text("started_at DESC")),
        Index("ix_sync_runs_failed", "error_code", "started_at", postgresql_where=text("status = 'failed'")),
        Index("ix_sync_runs_running", "started_at", postgresql_where=text("status = 'running'")),
        Index("uq_sync_runs_committed_version", "item_id", "committed_version", unique=True),
    )
