"""Give the engine its breakers, its staging and its quarantine."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20250908_0000"
down_revision = "20250901_0000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "circuit_breakers",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("counting", "open", "releasing", name="breakerstate", native_enum=False, length=32),
            server_default="counting",
            nullable=False,
        ),
        sa.Column("failures", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_item_id", sa.Uuid(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('counting', 'open', 'releasing')", name=op.f("ck_circuit_breakers_state_is_known")
        ),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_circuit_breakers")),
    )
    op.create_table(
        "staged_transactions",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("account_owner", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=True),
        sa.Column("iso_currency_code", sa.Text(), nullable=True),
        sa.Column("unofficial_currency_code", sa.Text(), nullable=True),
        sa.Column("check_number", sa.Text(), nullable=True),
        sa.Column("date", sa.Date(), nullable=True),
        sa.Column("datetime", sa.DateTime(timezone=True), nullable=True),
        sa.Column("authorized_date", sa.Date(), nullable=True),
        sa.Column("authorized_datetime", sa.DateTime(timezone=True), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("original_description", sa.Text(), nullable=True),
        sa.Column("merchant_name", sa.Text(), nullable=True),
        sa.Column("merchant_entity_id", sa.Text(), nullable=True),
        sa.Column("merchant_category_code", sa.Text(), nullable=True),
        sa.Column("logo_url", sa.Text(), nullable=True),
        sa.Column("website", sa.Text(), nullable=True),
        sa.Column("pending", sa.Boolean(), nullable=True),
        sa.Column("pending_transaction_id", sa.Text(), nullable=True),
        sa.Column("payment_channel", sa.Text(), nullable=True),
        sa.Column("transaction_code", sa.Text(), nullable=True),
        sa.Column("transaction_type", sa.Text(), nullable=True),
        sa.Column("running_balance", sa.Numeric(), nullable=True),
        sa.Column("personal_finance_category_primary", sa.Text(), nullable=True),
        sa.Column("personal_finance_category_detailed", sa.Text(), nullable=True),
        sa.Column("personal_finance_category_confidence_level", sa.Text(), nullable=True),
        sa.Column("personal_finance_category_version", sa.Text(), nullable=True),
        sa.Column("personal_finance_category_icon_url", sa.Text(), nullable=True),
        sa.Column("category_id", sa.Text(), nullable=True),
        sa.Column("category", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("location", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("payment_meta", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("counterparties", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "transaction_id", name=op.f("pk_staged_transactions")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "quarantined_transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["plaid_items.id"],
            name=op.f("fk_quarantined_transactions_item_id_plaid_items"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_transactions")),
        sa.UniqueConstraint("item_id", "body_sha256", name=op.f("uq_quarantined_transactions_item_id_body_sha256")),
    )
    op.add_column("plaid_items", sa.Column("update_status", sa.Text(), nullable=True))
    op.add_column("plaid_items", sa.Column("webhook_seen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("plaid_items", sa.Column("full_pull_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("plaid_items", sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_plaid_items_parked",
        "plaid_items",
        ["institution_id", "next_sync_at"],
        unique=False,
        postgresql_where=sa.text("parked_at IS NOT NULL"),
    )
    op.add_column("sync_runs", sa.Column("quarantined", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("sync_runs", sa.Column("full_pull", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "ix_transactions_pending_link",
        "transactions",
        ["item_id", "pending_transaction_id"],
        unique=False,
        postgresql_where=sa.text("pending_transaction_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_transactions_pending_link",
        table_name="transactions",
        postgresql_where=sa.text("pending_transaction_id IS NOT NULL"),
    )
    op.drop_column("sync_runs", "full_pull")
    op.drop_column("sync_runs", "quarantined")
    op.drop_index("ix_plaid_items_parked", table_name="plaid_items", postgresql_where=sa.text("parked_at IS NOT NULL"))
    op.drop_column("plaid_items", "parked_at")
    op.drop_column("plaid_items", "full_pull_at")
    op.drop_column("plaid_items", "webhook_seen_at")
    op.drop_column("plaid_items", "update_status")
    op.drop_table("quarantined_transactions")
    op.drop_table("staged_transactions")
    op.drop_table("circuit_breakers")
