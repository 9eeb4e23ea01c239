"""Items: found, looked at, and what a person can do with one."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from core.audit import AuditEventType
from core.database import Database
from core.items.reconciliation import request_reconcile
from core.items.removal import remove_item
from core.items.sync_request import request_sync
from core.queries.audit_events import AuditFilter, find_audit_events
from core.queries.items import find_items, read_item
from core.queries.runs import RunFilter, find_runs
from web.auth import actor_of
from web.console.access import ItemsSent, ItemsVisitor
from web.console.advice import about_item
from web.console.asked import ItemsAsked
from web.console.page_route import PageRoute
from web.console.rendering import render
from web.services import services_of

router = APIRouter(prefix="/console/items", route_class=PageRoute)

ROWS = 50
RUNS = 30


@router.get("")
async def show_items(request: Request, session: ItemsVisitor, asked: Annotated[ItemsAsked, Query()]) -> Response:
    """List the Items that fit, newest first."""
    database = services_of(request).resources.database
    page = await find_items(database, asked.filter(), ROWS, asked.cursor)
    return render(request, "items.html", {"asked": asked.shown(), "page": page}, session=session)


@router.get("/{item_id}")
async def show_item(request: Request, item_id: UUID, session: ItemsVisitor) -> Response:
    """Show an Item: its health and what to do about it, its runs, its accounts."""
    database = services_of(request).resources.database
    item = await read_item(database, item_id)
    runs = await find_runs(database, RunFilter(item_id=item_id), RUNS)
    compared = await _last_comparison(database, item_id)
    facts = {"item": item, "advice": about_item(item), "runs": runs, "compared": compared}
    return render(request, "item.html", facts, session=session)


@router.post("/{item_id}/sync")
async def sync(request: Request, item_id: UUID, sent: ItemsSent) -> Response:
    """Send for a sync."""
    session, fields = sent
    repaired = fields.get("repaired") == "yes"
    resources = services_of(request).resources
    await request_sync(resources, item_id, actor_of(session.principal), repaired=repaired)
    return _back(item_id, "sync")


@router.post("/{item_id}/reconcile")
async def reconcile(request: Request, item_id: UUID, sent: ItemsSent) -> Response:
    """Send for a comparison with everything that Plaid has."""
    session, fields = sent
    repair = fields.get("repair") == "yes"
    resources = services_of(request).resources
    await request_reconcile(resources, item_id, actor_of(session.principal), repair=repair)
    return _back(item_id, "reconcile")


@router.post("/{item_id}/remove")
async def remove(request: Request, item_id: UUID, sent: ItemsSent) -> Response:
    """Take an Item out of service, once its reader has said that it is meant."""
    session, fields = sent
    if fields.get("sure") != "yes":
        raise HTTPException(422, "Tick the box to confirm: a removed Item does not come back.")
    await remove_item(services_of(request).resources, item_id, actor_of(session.principal))
    return _back(item_id, "removed")


async def _last_comparison(database: Database, item_id: UUID) -> dict[str, Any] | None:
    wanted = AuditFilter(event_type=AuditEventType.ITEM_RECONCILED, resource=f"item:{item_id}")
    page = await find_audit_events(database, wanted, 1)
    return page.data[0] if page.data else None


def _back(item_id: UUID, done: str) -> Response:
    return Response(status_code=303, headers={"Location": f"/console/items/{item_id}?done={done}"})
