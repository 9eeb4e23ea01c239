"""Keep removals until Plaid agrees, POSTs that shall count once, and what webhooks tell about an Item."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20250925_0000"
down_revision = "20250922_0000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "item_removals",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_item_removals_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_item_removals")),
    )
    op.create_index(
        "ix_item_removals_due",
        "item_removals",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text(), none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("subject", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.add_column("plaid_items", sa.Column("access_ends_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("plaid_items", sa.Column("access_ends_reason", sa.Text(), nullable=True))
    op.add_column("plaid_items", sa.Column("new_accounts_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounts", sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("accounts", "revoked_at")
    for column in ("new_accounts_at", "access_ends_reason", "access_ends_at"):
        op.drop_column("plaid_items", column)
    op.drop_table("idempotency_keys")
    op.drop_table("item_removals")
