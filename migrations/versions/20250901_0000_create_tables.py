"""Create every table, the insert-only audit chain with its monthly partitions among them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20250901_0000"
down_revision = None
branch_labels = None
depends_on = None

# A month's partition is made by the first insert of the month, with the owner's rights: the writer has none to
# create tables.
ENSURE_PARTITION = """
CREATE FUNCTION ensure_audit_partition(at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first_day timestamp := date_trunc('month', at AT TIME ZONE 'UTC');
    partition text := 'audit_events_' || to_char(first_day, 'YYYYMM');
BEGIN
    IF to_regclass(quote_ident(partition)) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
            partition, first_day AT TIME ZONE 'UTC', (first_day + interval '1 month') AT TIME ZONE 'UTC'
        );
    END IF;
END
$$
"""
REFUSE_CHANGE = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_events is insert-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$
"""
INSERT_ONLY = """
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
"""
GENESIS = "INSERT INTO audit_chain (id, seq, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'))"


def upgrade() -> None:
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_chain_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain")),
    )
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("context", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", "sealed_at", name=op.f("pk_audit_events")),
        postgresql_partition_by="RANGE (sealed_at)",
    )
    op.create_index("ix_audit_events_event_id", "audit_events", ["event_id"], unique=False)
    op.create_index("ix_audit_events_resource_seq", "audit_events", ["resource", "seq"], unique=False)
    op.create_table(
        "audit_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("context", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_outbox")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_outbox_event_id")),
    )
    op.create_table(
        "plaid_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("plaid_item_id", sa.Text(), nullable=False),
        sa.Column("institution_id", sa.Text(), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("plaid_access_token", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active", "needs_reauth", "error", "revoked", "removed", name="itemstatus", native_enum=False, length=32
            ),
            server_default="active",
            nullable=False,
        ),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("consecutive_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sync_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_sync_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "status IN ('active', 'needs_reauth', 'error', 'revoked', 'removed')",
            name=op.f("ck_plaid_items_status_is_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plaid_items")),
        sa.UniqueConstraint("plaid_item_id", name=op.f("uq_plaid_items_plaid_item_id")),
    )
    op.create_index(
        "ix_plaid_items_due",
        "plaid_items",
        ["next_sync_at"],
        unique=False,
        postgresql_where=sa.text("next_sync_at IS NOT NULL"),
    )
    op.create_index(
        "ix_plaid_items_failing",
        "plaid_items",
        ["error_code"],
        unique=False,
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.create_index(op.f("ix_plaid_items_institution_id"), "plaid_items", ["institution_id"], unique=False)
    op.create_index(op.f("ix_plaid_items_user_id"), "plaid_items", ["user_id"], unique=False)
    op.create_table(
        "accounts",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("persistent_account_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("official_name", sa.Text(), nullable=True),
        sa.Column("mask", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subtype", sa.Text(), nullable=True),
        sa.Column("verification_status", sa.Text(), nullable=True),
        sa.Column("holder_category", sa.Text(), nullable=True),
        sa.Column("balance_available", sa.Numeric(), nullable=True),
        sa.Column("balance_current", sa.Numeric(), nullable=True),
        sa.Column("balance_limit", sa.Numeric(), nullable=True),
        sa.Column("iso_currency_code", sa.Text(), nullable=True),
        sa.Column("unofficial_currency_code", sa.Text(), nullable=True),
        sa.Column("balance_last_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_accounts_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", "account_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "sync_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column(
            "trigger",
            sa.Enum(
                "scheduled", "webhook", "manual", "replay", "backfill", name="synctrigger", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum("running", "succeeded", "failed", "skipped", name="runstatus", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pages", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("added", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("modified", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("removed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("restarts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("committed_version", sa.Integer(), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("plaid_request_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'skipped')", name=op.f("ck_sync_runs_status_is_known")
        ),
        sa.CheckConstraint(
            "trigger IN ('scheduled', 'webhook', 'manual', 'replay', 'backfill')",
            name=op.f("ck_sync_runs_trigger_is_known"),
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_sync_runs_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_runs")),
    )
    op.create_index(
        "ix_sync_runs_failed",
        "sync_runs",
        ["error_code", "started_at"],
        unique=False,
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index(
        "ix_sync_runs_item_id_started_at", "sync_runs", ["item_id", sa.literal_column("started_at DESC")], unique=False
    )
    op.create_index(
        "ix_sync_runs_running",
        "sync_runs",
        ["started_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index("uq_sync_runs_committed_version", "sync_runs", ["item_id", "committed_version"], unique=True)
    op.create_table(
        "transactions",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("account_owner", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("iso_currency_code", sa.Text(), nullable=True),
        sa.Column("unofficial_currency_code", sa.Text(), nullable=True),
        sa.Column("check_number", sa.Text(), nullable=True),
        sa.Column("date", sa.Date(), nullable=False),
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
        sa.Column("pending", sa.Boolean(), nullable=False),
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
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_transactions_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", "transaction_id", name=op.f("pk_transactions")),
    )
    op.create_index(
        "ix_transactions_item_id_date",
        "transactions",
        ["item_id", sa.literal_column("date DESC")],
        unique=False,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delivery_key", sa.LargeBinary(), nullable=False),
        sa.Column("webhook_type", sa.Text(), nullable=False),
        sa.Column("webhook_code", sa.Text(), nullable=False),
        sa.Column("plaid_item_id", sa.Text(), nullable=True),
        sa.Column("item_id", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_webhook_events_item_id_plaid_items"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sa.UniqueConstraint("delivery_key", name=op.f("uq_webhook_events_delivery_key")),
    )
    op.create_index(op.f("ix_webhook_events_plaid_item_id"), "webhook_events", ["plaid_item_id"], unique=False)
    for statement in (ENSURE_PARTITION, REFUSE_CHANGE, INSERT_ONLY, GENESIS):
        op.execute(statement)


def downgrade() -> None:
    op.drop_index(op.f("ix_webhook_events_plaid_item_id"), table_name="webhook_events")
    op.drop_table("webhook_events")
    op.drop_index(
        "ix_transactions_item_id_date", table_name="transactions", postgresql_where=sa.text("removed_at IS NULL")
    )
    op.drop_table("transactions")
    op.drop_index("uq_sync_runs_committed_version", table_name="sync_runs")
    op.drop_index("ix_sync_runs_running", table_name="sync_runs", postgresql_where=sa.text("status = 'running'"))
    op.drop_index("ix_sync_runs_item_id_started_at", table_name="sync_runs")
    op.drop_index("ix_sync_runs_failed", table_name="sync_runs", postgresql_where=sa.text("status = 'failed'"))
    op.drop_table("sync_runs")
    op.drop_table("accounts")
    op.drop_index(op.f("ix_plaid_items_user_id"), table_name="plaid_items")
    op.drop_index(op.f("ix_plaid_items_institution_id"), table_name="plaid_items")
    op.drop_index(
        "ix_plaid_items_failing", table_name="plaid_items", postgresql_where=sa.text("error_code IS NOT NULL")
    )
    op.drop_index("ix_plaid_items_due", table_name="plaid_items", postgresql_where=sa.text("next_sync_at IS NOT NULL"))
    op.drop_table("plaid_items")
    op.drop_table("audit_outbox")
    op.drop_index("ix_audit_events_resource_seq", table_name="audit_events")
    op.drop_index("ix_audit_events_event_id", table_name="audit_events")
    op.drop_table("audit_events")
    op.drop_table("audit_chain")
    op.execute("DROP FUNCTION refuse_audit_change()")
    op.execute("DROP FUNCTION ensure_audit_partition(timestamptz)")
