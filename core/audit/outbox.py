"""Writes an event into the caller's transaction: the change and its record stand or fall together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from core.audit.events import AuditContext, AuditEventType
from core.identity import new_id
from core.models import AuditOutbox

SYSTEM = "manna-sync"


@dataclass(frozen=True, slots=True)
class Event:
    """An event to be recorded; see `log_audit_event` for its facts."""

    event_type: AuditEventType
    message: str
    context: AuditContext = field(default_factory=AuditContext)
    actor: str = SYSTEM
    resource: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the outbox's row; it happened now."""
        return {
            "event_id": new_id(),
            "event_type": self.event_type.value,
            "occurred_at": datetime.now(UTC),
            "actor": self.actor,
            "resource": self.resource,
            "message": self.message,
            "context": self.context.as_json(),
        }


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
    event = Event(event_type, message, context or AuditContext(), actor, resource)
    await log_audit_events(session, [event])


async def log_audit_events(session: AsyncSession | AsyncConnection, events: Sequence[Event]) -> None:
    """Record several events by one statement, in the order given."""
    if events:
        await session.execute(insert(AuditOutbox), [event.as_row() for event in events])
