"""Keep the sealed pages of syncs for days, in daily partitions, and let a replay name the runs that it applies."""

import sqlalchemy as sa
from alembic import op

revision = "20251016_0000"
down_revision = "20251004_0000"
branch_labels = None
depends_on = None

ENSURE_PARTITION = """
CREATE FUNCTION ensure_journal_partition(day date) RETURNS regclass
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'journal_pages_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF journal_pages FOR VALUES FROM (%L) TO (%L)',
            partition, day, day + 1
        );
        -- Sealed and random: the attempt to compress it once more is time for nothing.
        EXECUTE format('ALTER TABLE %I ALTER COLUMN body SET STORAGE EXTERNAL', partition);
    END IF;
    RETURN partition::regclass;
END
$$
"""
DROP_PARTITION = """
CREATE FUNCTION drop_journal_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS %I', 'journal_pages_' || to_char(day, 'YYYYMMDD'));
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "journal_pages",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("page", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("recorded_on", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "run_id", "page", "recorded_on", name=op.f("pk_journal_pages")),
        postgresql_partition_by="RANGE (recorded_on)",
    )
    op.add_column("replay_items", sa.Column("run_id", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_replay_items_run_id", "replay_items", ["run_id"], postgresql_where=sa.text("run_id IS NOT NULL")
    )
    op.execute(ENSURE_PARTITION)
    op.execute(DROP_PARTITION)
    op.execute("REVOKE ALL ON FUNCTION ensure_journal_partition(date), drop_journal_partition(date) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION drop_journal_partition(date)")
    op.execute("DROP FUNCTION ensure_journal_partition(date)")
    op.drop_index("ix_replay_items_run_id", "replay_items")
    op.drop_column("replay_items", "run_id")
    op.drop_table("journal_pages")
