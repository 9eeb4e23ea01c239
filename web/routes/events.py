"""What was recorded: the audit log, and the webhooks that were received."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.queries.audit_events import find_audit_events
from core.queries.webhook_events import find_webhook_events
from web.auth import AuditReader, ItemsReader, actor_of
from web.schemas.events import AuditEvent, WebhookEvent
from web.schemas.listing import AuditQuery, WebhookQuery, problems
from web.schemas.words import PageOf
from web.services import services_of

router = APIRouter(tags=["events"])


@router.get("/audit-events", responses=problems())
async def list_audit_events(
    request: Request, caller: AuditReader, asked: Annotated[AuditQuery, Query()]
) -> PageOf[AuditEvent]:
    """List sealed audit events, newest first; that they were read is recorded as well."""
    database = services_of(request).resources.database
    page = await find_audit_events(database, asked.filter(), asked.limit, asked.cursor)
    await log_audit_event(
        AuditEventType.AUDIT_READ,
        "Audit events were read",
        database=database,
        context=AuditContext(count=len(page.data), token_id=caller.token_id),
        actor=actor_of(caller),
    )
    return PageOf[AuditEvent].model_validate(page)


@router.get("/webhook-events", responses=problems())
async def list_webhook_events(
    request: Request, _caller: ItemsReader, asked: Annotated[WebhookQuery, Query()]
) -> PageOf[WebhookEvent]:
    """List webhooks, newest first; those of unknown Items are kept, and become the Item's once it is linked."""
    database = services_of(request).resources.database
    page = await find_webhook_events(database, asked.filter(), asked.limit, asked.cursor)
    return PageOf[WebhookEvent].model_validate(page)
