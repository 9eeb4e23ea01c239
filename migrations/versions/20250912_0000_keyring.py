"""Create the tables of the staged key rotation: keys, the processes that have them, token rotations under way."""

import sqlalchemy as sa
from alembic import op

revision = "20250912_0000"
down_revision = "20250908_0000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "encryption_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("pending", "active", "decrypt-only", "destroyed", name="keystatus", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("uses", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("destroyed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'active', 'decrypt-only', 'destroyed')",
            name=op.f("ck_encryption_keys_status_is_known"),
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_encryption_keys")),
    )
    op.create_index(
        "uq_encryption_keys_active",
        "encryption_keys",
        ["status"],
        unique=True,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "keyring_reports",
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("key_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("primary_key_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_keyring_reports")),
    )
    op.create_table(
        "token_rotations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("started", "done", "failed", "lost", name="tokenrotationstatus", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('started', 'done', 'failed', 'lost')", name=op.f("ck_token_rotations_status_is_known")
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_token_rotations_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_rotations")),
    )
    op.create_index(
        "uq_token_rotations_open",
        "token_rotations",
        ["item_id"],
        unique=True,
        postgresql_where=sa.text("status = 'started'"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_token_rotations_open", table_name="token_rotations", postgresql_where=sa.text("status = 'started'")
    )
    op.drop_table("token_rotations")
    op.drop_table("keyring_reports")
    op.drop_index(
        "uq_encryption_keys_active", table_name="encryption_keys", postgresql_where=sa.text("status = 'active'")
    )
    op.drop_table("encryption_keys")
