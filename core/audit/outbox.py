"""Writes an event into the caller's transaction: the change and its record stand or fall together."""

from datetime import UTC, datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit.events import AuditContext, AuditEventType
from core.identity import new_id
from core.models import AuditOutbox

SYSTEM = "manna-sync"


async def log_audit_event(  # noqa: PLR0913 - an event has six facts, all but two named
    event_type: AuditEventType,
    message: str,
    *,
    session: AsyncSession,
    context: AuditContext | None = None,
    actor: str = SYSTEM,
    resource: str | None = None,
) -> None:
    """Record an event with the change that it is about: both are there after the commit, or neither is.

    Args:
        event_type: what happened.
        message: one constant sentence for people; facts belong into `context`.
        session: the transaction of the change.
        context: the circumstances, from the allow-list.
        actor: who did it, `kind:name`.
        resource: what it was done to, `kind:id`.
    """
    values = {
        "event_id": new_id(),
        "event_type": event_type.value,
        "occurred_at": datetime.now(UTC),
        "actor": actor,
        "resource": resource,
        "message": message,
        "context": (context or AuditContext()).as_json(),
    }
    await session.execute(insert(AuditOutbox).values(values))
