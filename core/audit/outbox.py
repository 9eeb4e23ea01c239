"""Writes an event into the caller's transaction: the change and its record stand or fall together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from core.audit.context import AuditContext, clean, split_context
from core.audit.counting import CONTEXT_DROPPED, count
from core.audit.events import AuditEventType
from core.audit.policy import current_policy
from core.database import Database
from core.identity import new_id
from core.models import AuditOutbox

SYSTEM = "manna-sync"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Event:
    """An event to be recorded; see `log_audit_event` for its facts."""

    event_type: AuditEventType
    message: str
    context: AuditContext | Mapping[str, Any] = field(default_factory=AuditContext)
    actor: str = SYSTEM
    resource: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the outbox's row, cleaned of what may not be in it; it happened now."""
        return {
            "event_id": new_id(),
            "event_type": self.event_type.value,
            "occurred_at": datetime.now(UTC),
            "actor": clean(self.actor),
            "resource": None if self.resource is None else clean(self.resource),
            "message": clean(self.message),
            "context": self._allowed_context().as_json(),
        }

    def _allowed_context(self) -> AuditContext:
        if not isinstance(self.context, Mapping):
            return self.context
        context, refused = split_context(self.context)
        if refused and current_policy().strict:
            accepted = "the fields of AuditContext"
            raise TypeError(f"audit context does not take {', '.join(refused)}; accepted are {accepted}")
        if refused:
            # The names alone: a value that nobody allowed may be a secret.
            log.warning("audit_context_dropped", event_type=self.event_type.value, fields=refused)
            count(CONTEXT_DROPPED, len(refused))
        return context


async def log_audit_event(  # noqa: PLR0913 - an event has six facts, all but two named
    event_type: AuditEventType,
    message: str,
    *,
    context: AuditContext | Mapping[str, Any] | None = None,
    session: AsyncSession | AsyncConnection | None = None,
    database: Database | None = None,
    actor: str = SYSTEM,
    resource: str | None = None,
) -> None:
    """Record an event with the change that it is about: both are there after the commit, or neither is.

    When it returns without `session`, the event is committed, so it may precede what it announces.
    `AUDIT_LOGGING_ENABLED=false` makes it write nothing.

    Args:
        event_type: what happened.
        message: one constant sentence for people; facts belong into `context`.
        context: the circumstances, from the allow-list.
        session: the transaction of the change; without it the event is committed in one of its own.
        database: where that one is opened; the database of this process's resources if left out.
        actor: who did it, `kind:name`.
        resource: what it was done to, `kind:id`.

    Raises:
        TypeError: a context field is not on the allow-list (production drops and counts it instead), or there is
            neither a session nor a database.
    """
    event = Event(event_type, message, AuditContext() if context is None else context, actor, resource)
    if session is not None:
        await log_audit_events(session, [event])
        return
    own = database or current_policy().database
    if own is None:
        raise TypeError("log_audit_event needs a session or a database: this process has opened no resources")
    async with own.connection() as connection:
        await log_audit_events(connection, [event])


async def log_audit_events(session: AsyncSession | AsyncConnection, events: Sequence[Event]) -> None:
    """Record several events by one statement, in the order given."""
    if events and current_policy().enabled:
        await session.execute(insert(AuditOutbox), [event.as_row() for event in events])
