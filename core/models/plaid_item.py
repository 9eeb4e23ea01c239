from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, DateTime, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.encryption.column import EncryptedString
from core.locking.optimistic import OptimisticLockMixin
from core.models.columns import Instant, Now, OurId, one_of, words


class ItemStatus(StrEnum):
    """What can be done with an Item."""

    ACTIVE = "active"
    NEEDS_REAUTH = "needs_reauth"
    ERROR = "error"
    REVOKED = "revoked"
    REMOVED = "removed"


class PlaidItem(Base, OptimisticLockMixin):
    """A user's login at a bank, as Plaid calls it: its sealed token, its cursor, and when to look again.

    `plaid_access_token` is sealed on assignment and opened on reading; `cursor` is always one that Plaid gave
    with `has_more = false`; `version` rises by one with each commit. Times are UTC.
    """

    __tablename__ = "plaid_items"

    id: Mapped[OurId]
    user_id: Mapped[str] = mapped_column(index=True)
    plaid_item_id: Mapped[str] = mapped_column(unique=True)
    institution_id: Mapped[str | None] = mapped_column(index=True)
    plaid_access_token: Mapped[str] = mapped_column(EncryptedString(255))
    cursor: Mapped[str | None]
    status: Mapped[ItemStatus] = mapped_column(
        words(ItemStatus), default=ItemStatus.ACTIVE, server_default=ItemStatus.ACTIVE.value
    )
    error_type: Mapped[str | None]
    error_code: Mapped[str | None]
    consecutive_failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_synced_at: Mapped[Instant | None]
    # When a webhook or a person last asked for this Item: the durable half of the dirty flag.
    sync_requested_at: Mapped[Instant | None]
    # How far Plaid has come with the Item's history (`transactions_update_status`), as it last told.
    update_status: Mapped[str | None]
    # Plaid announces this Item's changes: the schedule need not look often.
    webhook_seen_at: Mapped[Instant | None]
    # Where Plaid agreed to send this Item's webhooks; null for one that was imported, until it is asked.
    webhook_url: Mapped[str | None]
    # When the Item was last pulled from the empty cursor because its own was refused.
    full_pull_at: Mapped[Instant | None]
    # Held back since then, because its institution is down.
    parked_at: Mapped[Instant | None]
    # When the schedule looks next; null when only a person or a webhook can bring the Item back. Without an index, so
    # that a commit moves no index entry: the dispatcher reads `ItemSchedule`, which a trigger keeps from here.
    next_sync_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    # Announced by Plaid: when the access ends unless the user consents again, and why.
    access_ends_at: Mapped[Instant | None]
    access_ends_reason: Mapped[str | None]
    # Since when the bank has accounts that the user has not shared.
    new_accounts_at: Mapped[Instant | None]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]

    __table_args__ = (
        one_of("status", ItemStatus),
        # The database's own word for it; `unsealed:` is development with FIELD_ENCRYPTION_ENABLED=false.
        CheckConstraint(
            "plaid_access_token LIKE 'sealed:%' OR plaid_access_token LIKE 'unsealed:%'",
            name="plaid_access_token_is_sealed",
        ),
        Index("ix_plaid_items_parked", "institution_id", "parked_at", postgresql_where=text("parked_at IS NOT NULL")),
        Index("ix_plaid_items_failing", "error_code", postgresql_where=text("error_code IS NOT NULL")),
        # Room on each page for a commit's new version of a row: the update stays on the page and touches no index.
        {"postgresql_with": {"fillfactor": 85}},
    )
