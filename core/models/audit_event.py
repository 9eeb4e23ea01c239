from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.models.columns import Instant, Json, Now


class AuditEvent(Base):
    """A sealed event: insert-only, gap-free in `seq`, each `hash` over the one before it (`core.audit.chain`)."""

    __tablename__ = "audit_events"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # Part of the key because the partitions are months of it; it never runs backwards along `seq`.
    sealed_at: Mapped[Now] = mapped_column(primary_key=True)
    event_id: Mapped[UUID]
    event_type: Mapped[str]
    occurred_at: Mapped[Instant]
    actor: Mapped[str]
    resource: Mapped[str | None]
    message: Mapped[str]
    context: Mapped[Json]
    prev_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (
        Index("ix_audit_events_event_id", "event_id"),
        Index("ix_audit_events_resource_seq", "resource", "seq"),
        # Without what every sync writes: who looks for something else finds it, and a sync pays nothing for that.
        Index(
            "ix_audit_events_rare_type_seq",
            "event_type",
            "seq",
            postgresql_where=text(
                "event_type <> ALL (ARRAY['plaid:item:synced'::text, 'plaid:token:decrypted'::text])"
            ),
        ),
        Index("ix_audit_events_other_actor_seq", "actor", "seq", postgresql_where=text("actor <> 'manna-sync'::text")),
        {"postgresql_partition_by": "RANGE (sealed_at)"},
    )
