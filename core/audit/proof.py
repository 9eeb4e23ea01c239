"""Verifies the chain and records the outcome in the chain itself: when it last held, for whom, and how far."""

import time
from collections.abc import Callable, Iterable

from core.audit.checkpoints import Checkpoint
from core.audit.context import AuditContext
from core.audit.events import AuditEventType
from core.audit.outbox import log_audit_event
from core.audit.signing import load_public_keys
from core.audit.verification import Verification, verify_chain
from core.database import Database
from core.settings import Settings

RESOURCE = "audit:chain"


async def prove_chain(
    settings: Settings,
    database: Database,
    actor: str,
    *,
    outside: Iterable[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Verify every event and checkpoint, record what was found under the resource `audit:chain`, and return it.

    `outside` and `progress` are those of `verify_chain`.
    """
    begun = time.monotonic()
    found = await verify_chain(database, load_public_keys(settings), outside=outside, progress=progress)
    what, message = AuditEventType.CHAIN_VERIFIED, "Every link and every signature of the audit chain holds"
    if found.problem:
        what, message = AuditEventType.CHAIN_BROKEN, "Verification found the audit chain changed"
    context = AuditContext(
        count=found.events,
        last_seq=found.head.seq,
        checkpoint=found.checkpoints,
        duration_ms=round((time.monotonic() - begun) * 1000),
        reason=found.problem,
    )
    await log_audit_event(what, message, context=context, database=database, actor=actor, resource=RESOURCE)
    return found
