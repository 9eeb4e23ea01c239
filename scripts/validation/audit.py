"""The audit log: insert-only by trigger and by right, whole, and drained."""

from core.secrets.names import SecretName
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection, SchemaFacts

OLDEST_SECONDS = 300
ROLES = "Run `manna security setup-database`"


def _facts(inspection: Inspection) -> SchemaFacts:
    assert inspection.schema is not None  # noqa: S101 - `needs` has seen to it
    return inspection.schema


@check("audit.insert_only", Severity.CRITICAL, "Run `alembic upgrade head`; find out who dropped it", needs="schema")
def insert_only(inspection: Inspection) -> str | None:
    """UPDATE, DELETE and TRUNCATE meet an enabled trigger."""
    missing = {"UPDATE", "DELETE", "TRUNCATE"} - _facts(inspection).audit_triggers
    return f"no enabled trigger refuses {', '.join(sorted(missing))} on audit_events" if missing else None


@check("audit.no_right_to_change", Severity.HIGH, ROLES, needs="schema", production=True)
def no_right_to_change(inspection: Inspection) -> str | None:
    """The service's role could not even without the trigger."""
    rights = _facts(inspection).audit_rights & {"UPDATE", "DELETE", "TRUNCATE"}
    return f"the service's role may {', '.join(sorted(rights))} audit_events" if rights else None


@check("audit.right_to_insert", Severity.HIGH, ROLES, needs="schema")
def right_to_insert(inspection: Inspection) -> str | None:
    """The consumer can seal."""
    return (
        None if "INSERT" in _facts(inspection).audit_rights else "the service's role may not INSERT into audit_events"
    )


@check("audit.partitions_closed", Severity.HIGH, ROLES, needs="schema", production=True)
def partitions_closed(inspection: Inspection) -> str | None:
    """Nobody goes round the parent."""
    rights = _facts(inspection).partition_rights & {"UPDATE", "DELETE", "TRUNCATE", "INSERT"}
    return f"the service's role may {', '.join(sorted(rights))} a partition directly" if rights else None


@check(
    "audit.chain_and_events_agree",
    Severity.CRITICAL,
    "Run `manna audit verify`; do not delete anything",
    needs="schema",
)
def chain_and_events_agree(inspection: Inspection) -> str | None:
    """The chain's head is its last event."""
    facts = _facts(inspection)
    return (
        None
        if facts.chain_seq == facts.last_seq
        else f"the head is at {facts.chain_seq}, the last event is {facts.last_seq}"
    )


@check("audit.head_hash_agrees", Severity.CRITICAL, "Run `manna audit verify`; do not delete anything", needs="schema")
def head_hash_agrees(inspection: Inspection) -> str | None:
    """The last event is the one that was sealed."""
    return None if _facts(inspection).head_matches else "the head's hash is not that of the last event"


@check("audit.outbox_drained", Severity.HIGH, "Start `celery -A worker worker -Q audit`", needs="schema")
def outbox_drained(inspection: Inspection) -> str | None:
    """The consumer lives."""
    seconds = _facts(inspection).outbox_oldest_seconds
    return f"the oldest event waits for {seconds:.0f} s" if seconds > OLDEST_SECONDS else None


@check("audit.clock", Severity.MEDIUM, "Synchronise the clocks of service and database", needs="schema")
def clock(inspection: Inspection) -> str | None:
    """Nothing was recorded in the future."""
    count = _facts(inspection).events_before_their_time
    return f"{count} events are dated in the future" if count else None


@check(
    "audit.signing_key_present",
    Severity.HIGH,
    "Set AUDIT_SIGNING_KEY to what `manna keys generate` prints",
    needs="secrets",
    production=True,
)
def signing_key_present(inspection: Inspection) -> str | None:
    """Checkpoints are signed by a key that the database does not know."""
    present = inspection.secrets and inspection.secrets.get(SecretName.AUDIT_SIGNING_KEY)
    return None if present else "AUDIT_SIGNING_KEY is missing"
