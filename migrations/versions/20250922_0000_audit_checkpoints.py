"""Sign the audit chain, guard each of its partitions, and let retention drop one whose root is outside."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20250922_0000"
down_revision = "20250918_0500"
branch_labels = None
depends_on = None

# A trigger per statement guards only the table that the statement names: each partition needs its own. ALWAYS,
# since `session_replication_role` would switch an ordinary one off.
GUARD = """
CREATE FUNCTION guard_audit_table(guarded regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()', guarded
    );
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER insert_only', guarded);
END
$$
"""
ENSURE_PARTITION = """
CREATE OR REPLACE FUNCTION ensure_audit_partition(at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first_day timestamp := date_trunc('month', at AT TIME ZONE 'UTC');
    partition text := 'audit_events_' || to_char(first_day, 'YYYYMM');
BEGIN
    IF to_regclass(quote_ident(partition)) IS NOT NULL THEN
        RETURN;
    END IF;
    -- The consumer and the retention's preparation of the next month may come here at once.
    PERFORM pg_advisory_xact_lock(hashtext('audit_events partitions'));
    IF to_regclass(quote_ident(partition)) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
            partition, first_day AT TIME ZONE 'UTC', (first_day + interval '1 month') AT TIME ZONE 'UTC'
        );
        PERFORM guard_audit_table(partition::regclass);
    END IF;
END
$$
"""
FORMER_ENSURE_PARTITION = """
CREATE OR REPLACE FUNCTION ensure_audit_partition(at timestamptz) RETURNS void
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
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{} is insert-only: % refused', {}TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$
"""
# The one way to lose events: the oldest month, over, its every checkpoint written outside.
DROPPABLE = """
CREATE FUNCTION droppable_audit_partition(partition text, OUT first bigint, OUT last bigint)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF partition !~ '^audit_events_[0-9]{6}$' OR NOT EXISTS (
        SELECT FROM pg_inherits WHERE inhparent = 'audit_events'::regclass AND inhrelid = to_regclass(partition)
    ) THEN
        RAISE EXCEPTION '% is no partition of audit_events', partition USING ERRCODE = 'undefined_table';
    END IF;
    IF to_date(right(partition, 6), 'YYYYMM') + interval '1 month' > now() AT TIME ZONE 'UTC' THEN
        RAISE EXCEPTION '% is not over yet', partition USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('SELECT min(seq), max(seq) FROM %I', partition) INTO first, last;
    IF EXISTS (SELECT FROM audit_events WHERE seq < first) THEN
        RAISE EXCEPTION '% is not the oldest', partition USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF last IS NOT NULL AND (
        NOT EXISTS (SELECT FROM audit_checkpoints WHERE last_seq = last)
        OR EXISTS (SELECT FROM audit_checkpoints WHERE last_seq <= last AND exported_at IS NULL)
    ) THEN
        RAISE EXCEPTION 'the checkpoints of % are not exported', partition
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$
"""
DROP_PARTITION = """
CREATE FUNCTION drop_audit_partition(partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM droppable_audit_partition(partition);
    EXECUTE format('DROP TABLE %I', partition);
END
$$
"""
CHECKPOINT_GUARDS = """
CREATE TRIGGER insert_only BEFORE DELETE OR TRUNCATE ON audit_checkpoints
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER export_mark_only BEFORE UPDATE ON audit_checkpoints FOR EACH ROW
WHEN (to_jsonb(OLD) - 'exported_at' IS DISTINCT FROM to_jsonb(NEW) - 'exported_at' OR OLD.exported_at IS NOT NULL)
EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER insert_only;
ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER export_mark_only
"""
GUARD_EXISTING = """
SELECT guard_audit_table(inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass
"""
UNGUARD_EXISTING = """
DO $$ DECLARE partition regclass; BEGIN
    FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'audit_events'::regclass LOOP
        EXECUTE format('DROP TRIGGER insert_only ON %s', partition);
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.add_column(
        "audit_chain",
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("chain_hash", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("exported_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_checkpoints")),
        sa.UniqueConstraint("first_seq", name=op.f("uq_audit_checkpoints_first_seq")),
        sa.UniqueConstraint("last_seq", name=op.f("uq_audit_checkpoints_last_seq")),
    )
    op.create_table(
        "audit_alert_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("windows", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_alert_state_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_alert_state")),
    )
    # What was sealed before there were rules is history.
    op.execute("INSERT INTO audit_alert_state (id, seq, windows) SELECT 1, seq, '{}' FROM audit_chain")
    op.execute(REFUSE_CHANGE.format("%", "TG_TABLE_NAME, "))
    for statement in (GUARD, ENSURE_PARTITION, DROPPABLE, DROP_PARTITION, GUARD_EXISTING):
        op.execute(statement)
    for statement in CHECKPOINT_GUARDS.split(";"):
        op.execute(statement)
    op.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER insert_only")
    op.execute("REVOKE ALL ON FUNCTION drop_audit_partition(text), guard_audit_table(regclass) FROM PUBLIC")


def downgrade() -> None:
    op.execute(UNGUARD_EXISTING)
    op.execute("ALTER TABLE audit_events ENABLE TRIGGER insert_only")
    op.execute("DROP FUNCTION drop_audit_partition(text)")
    op.execute("DROP FUNCTION droppable_audit_partition(text)")
    op.execute(FORMER_ENSURE_PARTITION)
    op.execute("DROP FUNCTION guard_audit_table(regclass)")
    op.drop_table("audit_alert_state")
    op.drop_table("audit_checkpoints")
    op.execute(REFUSE_CHANGE.format("audit_events", ""))
    op.drop_column("audit_chain", "sealed_at")
