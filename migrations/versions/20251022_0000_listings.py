"""Lead the listings of webhooks and audit events by indexes, and keep where each Item's webhooks were sent last."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "20251022_0000"
down_revision = "20251010_0000"
branch_labels = None
depends_on = None

# Nearly every event is one of these, and of the service itself: whoever looks for one of the others would read them
# all, and an index without them costs a sync nothing.
RARE_TYPES = "event_type <> ALL (ARRAY['plaid:item:synced'::text, 'plaid:token:decrypted'::text])"
OTHER_ACTORS = "actor <> 'manna-sync'::text"
AUDIT_INDEXES = {
    "ix_audit_events_rare_type_seq": ("event_type, seq", RARE_TYPES),
    "ix_audit_events_other_actor_seq": ("actor, seq", OTHER_ACTORS),
}
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass ORDER BY 1"
ATTACHED = """
SELECT 1 FROM pg_index AS one JOIN pg_inherits ON inhrelid = indexrelid
WHERE one.indrelid = CAST(:partition AS regclass) AND inhparent = CAST(:index AS regclass)
"""


def upgrade() -> None:
    op.execute("ALTER TABLE plaid_items ADD COLUMN IF NOT EXISTS webhook_url text")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        # One that an aborted build left behind is there and of no use.
        op.drop_index("ix_webhook_events_item_id_id", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_webhook_events_item_id_id", "webhook_events", ["item_id", "id"], postgresql_concurrently=True
        )
        for name, (columns, where) in AUDIT_INDEXES.items():
            build(name, columns, where)
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    for name in AUDIT_INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.drop_index("ix_webhook_events_item_id_id", "webhook_events", if_exists=True)
    op.execute("ALTER TABLE plaid_items DROP COLUMN IF EXISTS webhook_url")


def build(name: str, columns: str, where: str) -> None:
    """Build an index of a partitioned table while it is written to: partition by partition, then taken together."""
    # First, so that a partition that is made meanwhile has it already.
    op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY audit_events ({columns}) WHERE {where}")
    for partition in unindexed(name):
        part = f"{partition}_{name.removeprefix('ix_audit_events_')}"
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {part}")
        op.execute(f"CREATE INDEX CONCURRENTLY {part} ON {partition} ({columns}) WHERE {where}")
        op.execute(f"ALTER INDEX {name} ATTACH PARTITION {part}")


def unindexed(name: str) -> Iterator[str]:
    """Yield the partitions that the index lacks, all of them or, after an abort, the rest."""
    bind = op.get_bind()
    for partition in list(bind.execute(sa.text(PARTITIONS)).scalars()):
        if bind.execute(sa.text(ATTACHED), {"partition": partition, "index": name}).first() is None:
            yield partition
