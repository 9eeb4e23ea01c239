"""The audit log: read, and proven to be whole."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.proof import RESOURCE
from core.broker.messages import VerifyAudit
from core.errors import UnavailableError
from core.queries.audit_events import AuditFilter, find_audit_events
from web.auth import actor_of
from web.console.access import AuditSent, AuditVisitor
from web.console.asked import AuditAsked
from web.console.page_route import PageRoute
from web.console.rendering import render
from web.services import services_of

router = APIRouter(prefix="/console/audit", route_class=PageRoute)

ROWS = 50


@router.get("")
async def show(request: Request, session: AuditVisitor, asked: Annotated[AuditAsked, Query()]) -> Response:
    """List sealed events, newest first; that they were read is recorded, as by the API."""
    services = services_of(request)
    database = services.resources.database
    page = await find_audit_events(database, asked.filter(), ROWS, asked.cursor)
    proven = await find_audit_events(database, AuditFilter(resource=RESOURCE), 1)
    context = AuditContext(count=len(page.data), token_id=session.token_id)
    what, actor = AuditEventType.AUDIT_READ, actor_of(session.principal)
    await log_audit_event(what, "Audit events were read", database=database, context=context, actor=actor)
    facts = {
        "asked": asked.shown(),
        "types": list(AuditEventType),
        "page": page,
        "chain": (await services.overview()).audit,
        "proven": proven.data[0] if proven.data else None,
    }
    return render(request, "audit.html", facts, session=session)


@router.post("/verify")
async def verify(request: Request, sent: AuditSent) -> Response:
    """Send for a verification of the whole chain; a worker does it, and its outcome is an event of the log."""
    session, _ = sent
    if not await services_of(request).resources.publisher.publish(VerifyAudit(actor_of(session.principal))):
        raise UnavailableError("the broker is away: nothing was sent; try again")
    return Response(status_code=303, headers={"Location": "/console/audit?done=verify"})
