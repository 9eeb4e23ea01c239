"""Keep replays and their Items, each Item in at most one open replay."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20250928_0000"
down_revision = "20250925_0000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "replays",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("running", "stopped", "finished", name="replaystatus", native_enum=False, length=32),
            server_default="running",
            nullable=False,
        ),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("selection", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("rate_per_minute", sa.Integer(), nullable=False),
        sa.Column("paced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'stopped', 'finished')", name=op.f("ck_replays_status_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replays")),
    )
    op.create_index(
        "uq_replays_open",
        "replays",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("status <> 'finished'"),
    )
    op.create_index("ix_replays_running", "replays", ["created_at"], postgresql_where=sa.text("status = 'running'"))
    op.create_table(
        "replay_items",
        sa.Column("replay_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("waiting", "sent", "succeeded", "failed", name="replaystate", native_enum=False, length=32),
            server_default="waiting",
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'sent', 'succeeded', 'failed')", name=op.f("ck_replay_items_state_is_known")
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_replay_items_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["replay_id"], ["replays.id"], name=op.f("fk_replay_items_replay_id_replays"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("replay_id", "item_id", name=op.f("pk_replay_items")),
    )
    op.create_index(
        "uq_replay_items_open",
        "replay_items",
        ["item_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('waiting', 'sent')"),
    )
    op.create_index("ix_replay_items_replay_id_state", "replay_items", ["replay_id", "state"])


def downgrade() -> None:
    op.drop_table("replay_items")
    op.drop_table("replays")
