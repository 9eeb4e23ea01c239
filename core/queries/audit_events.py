from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from core.database import Database
from core.models import AuditEvent
from core.queries.pages import Page, fetch_page


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What an event must fit; None fits all. `since` is included, `until` is not."""

    event_type: str | None = None
    actor: str | None = None
    resource: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def find_audit_events(database: Database, wanted: AuditFilter, limit: int, cursor: str | None = None) -> Page:
    """Return a page of sealed events; those still on their way into the chain are not among them."""
    query = select(AuditEvent.__table__)
    for name in ("event_type", "actor", "resource"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(AuditEvent, name) == value)
    if wanted.since is not None:
        query = query.where(AuditEvent.occurred_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.occurred_at < wanted.until)
    return await fetch_page(database, query, [AuditEvent.seq], limit, cursor)
