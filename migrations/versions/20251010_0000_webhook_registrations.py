"""Keep which Items' webhooks are not registered yet, until they are."""

import sqlalchemy as sa
from alembic import op

revision = "20251010_0000"
down_revision = "20251016_0000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_registrations",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["plaid_items.id"],
            name=op.f("fk_webhook_registrations_item_id_plaid_items"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_webhook_registrations")),
    )
    op.create_index("ix_webhook_registrations_due", "webhook_registrations", ["next_attempt_at"])


def downgrade() -> None:
    op.drop_table("webhook_registrations")
