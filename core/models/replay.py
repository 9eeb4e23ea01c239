from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Json, Now, OurId, one_of, words


class ReplayStatus(StrEnum):
    """Where a replay stands; `stopped` can be resumed, `finished` cannot."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"


class ReplayState(StrEnum):
    """Where one Item of a replay stands; the last two are its end."""

    WAITING = "waiting"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Replay(Base):
    """Somebody's wish that failing Items be synced again: who asked, for which, and how fast.

    `selection` is what was asked for; the Items that it came to are fixed at creation, in `replay_items`.
    """

    __tablename__ = "replays"

    id: Mapped[OurId]
    status: Mapped[ReplayStatus] = mapped_column(words(ReplayStatus), server_default=ReplayStatus.RUNNING.value)
    asked_by: Mapped[str]
    selection: Mapped[Json]
    # Of the selection, for an index that takes any length.
    fingerprint: Mapped[str]
    rate_per_minute: Mapped[int]
    # Up to when the rate's allowance is used: the next Item may go one interval after it.
    paced_at: Mapped[Now]
    created_at: Mapped[Now]
    finished_at: Mapped[Instant | None]

    __table_args__ = (
        one_of("status", ReplayStatus),
        # Asked for twice while it is open, a selection is one replay.
        Index("uq_replays_open", "fingerprint", unique=True, postgresql_where=text("status <> 'finished'")),
        Index("ix_replays_running", "created_at", postgresql_where=text("status = 'running'")),
    )


class ReplayItem(Base):
    """One Item of a replay, and what came of it."""

    __tablename__ = "replay_items"

    replay_id: Mapped[UUID] = mapped_column(ForeignKey("replays.id", ondelete="CASCADE"), primary_key=True)
    item_id: Mapped[UUID] = mapped_column(ForeignKey("plaid_items.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[ReplayState] = mapped_column(words(ReplayState), server_default=ReplayState.WAITING.value)
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    sent_at: Mapped[Instant | None]
    ended_at: Mapped[Instant | None]
    error_code: Mapped[str | None]
    # The run whose recorded pages are to be applied; null when Plaid is to be asked.
    run_id: Mapped[UUID | None]

    __table_args__ = (
        one_of("state", ReplayState),
        # Not twice at the same time, however many ask.
        Index("uq_replay_items_open", "item_id", unique=True, postgresql_where=text("state IN ('waiting', 'sent')")),
        Index("ix_replay_items_replay_id_state", "replay_id", "state"),
        Index("ix_replay_items_run_id", "run_id", postgresql_where=text("run_id IS NOT NULL")),
    )
