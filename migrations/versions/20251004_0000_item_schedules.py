"""Give the schedule a narrow table of its own, so that neither a claim nor a commit writes every index of an Item.

Online: the trigger is there before the rows are copied, in batches that commit by themselves, and indexes are built
beside the work. Interrupted, `alembic upgrade head` begins again and skips what is copied. Dispatchers of the version
before go on: the trigger copies what they write. They have lost their index, so restart them soon.
"""

import sqlalchemy as sa
from alembic import op

revision = "20251004_0000"
down_revision = "20250928_0000"
branch_labels = None
depends_on = None

# An upsert: an Item without its row would never be looked at again.
KEEP = """
CREATE OR REPLACE FUNCTION keep_item_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO item_schedules AS schedule (item_id, due_at, never_synced)
    VALUES (NEW.id, NEW.next_sync_at, NEW.last_synced_at IS NULL)
    ON CONFLICT (item_id) DO UPDATE SET due_at = excluded.due_at, never_synced = excluded.never_synced;
    RETURN NULL;
END
$$
"""
# Also when the time that is written is the one that stands there: it ends a claim.
ON_EVERY_CHANGE = """
CREATE OR REPLACE TRIGGER keep_item_schedule AFTER INSERT OR UPDATE OF next_sync_at, last_synced_at ON plaid_items
FOR EACH ROW EXECUTE FUNCTION keep_item_schedule()
"""
COPY = """
WITH batch AS (
    SELECT id, next_sync_at, last_synced_at FROM plaid_items WHERE id > :after ORDER BY id LIMIT 10000
),
copied AS (
    INSERT INTO item_schedules (item_id, due_at, never_synced)
    SELECT id, next_sync_at, last_synced_at IS NULL FROM batch
    ON CONFLICT (item_id) DO NOTHING
)
SELECT id FROM batch ORDER BY id DESC LIMIT 1
"""
FIRST = "00000000-0000-0000-0000-000000000000"


def copy_items() -> None:
    after: str | None = FIRST
    while after is not None:
        after = op.get_bind().execute(sa.text(COPY), {"after": after}).scalar()


def rebuild_index(name: str, table: str, columns: list[str], where: str) -> None:
    # One that an aborted build left behind is there and of no use.
    op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
    op.create_index(name, table, columns, postgresql_where=sa.text(where), postgresql_concurrently=True)


def upgrade() -> None:
    op.create_table(
        "item_schedules",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("never_synced", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["plaid_items.id"], name=op.f("fk_item_schedules_item_id_plaid_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_item_schedules")),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.02},
        if_not_exists=True,
    )
    op.execute(KEEP)
    op.execute(ON_EVERY_CHANGE)
    op.execute("ALTER TABLE plaid_items SET (fillfactor = 85)")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        copy_items()
        rebuild_index("ix_item_schedules_due", "item_schedules", ["due_at"], "due_at IS NOT NULL")
        rebuild_index("ix_plaid_items_parked", "plaid_items", ["institution_id", "parked_at"], "parked_at IS NOT NULL")
        op.drop_index("ix_plaid_items_due", "plaid_items", postgresql_concurrently=True, if_exists=True)
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        rebuild_index("ix_plaid_items_due", "plaid_items", ["next_sync_at"], "next_sync_at IS NOT NULL")
        columns = ["institution_id", "next_sync_at"]
        rebuild_index("ix_plaid_items_parked", "plaid_items", columns, "parked_at IS NOT NULL")
        op.execute("RESET statement_timeout")
    op.execute("ALTER TABLE plaid_items RESET (fillfactor)")
    op.execute("DROP TRIGGER IF EXISTS keep_item_schedule ON plaid_items")
    op.execute("DROP FUNCTION IF EXISTS keep_item_schedule()")
    op.drop_table("item_schedules", if_exists=True)
