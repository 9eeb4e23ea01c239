"""Items: listed, shown, synced, removed; and their transactions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from core.items.removal import remove_item
from core.items.sync_request import request_sync
from core.queries.items import find_items, read_item
from core.queries.transactions import find_transactions
from web.auth import ItemsReader, ItemsWriter, actor_of
from web.idempotency import IdempotentRoute
from web.schemas.items import Accepted, Item, ItemSummary, SyncRequest
from web.schemas.listing import ItemQuery, TransactionQuery, problems
from web.schemas.transactions import Transaction
from web.schemas.words import PageOf
from web.services import services_of

router = APIRouter(route_class=IdempotentRoute)


@router.get("/items", tags=["items"], responses=problems())
async def list_items(
    request: Request, _caller: ItemsReader, asked: Annotated[ItemQuery, Query()]
) -> PageOf[ItemSummary]:
    """List Items, newest first."""
    database = services_of(request).resources.database
    page = await find_items(database, asked.filter(), asked.limit, asked.cursor)
    return PageOf[ItemSummary].model_validate(page)


@router.get("/items/{item_id}", tags=["items"], responses=problems(404))
async def show_item(request: Request, item_id: UUID, _caller: ItemsReader) -> Item:
    """Show an Item: its health, its accounts, its last runs."""
    return Item.model_validate(await read_item(services_of(request).resources.database, item_id))


@router.post("/items/{item_id}/sync", tags=["items"], status_code=202, responses=problems(404, 409, 502))
async def sync_item(request: Request, item_id: UUID, caller: ItemsWriter, asked: SyncRequest | None = None) -> Accepted:
    """Sync an Item now; the answer does not wait for it."""
    refresh, repaired = (asked.refresh, asked.repaired) if asked else (False, False)
    resources = services_of(request).resources
    await request_sync(resources, item_id, actor_of(caller), refresh=refresh, repaired=repaired)
    return Accepted(status="queued", item_id=item_id)


@router.delete("/items/{item_id}", tags=["items"], status_code=202, responses=problems(404))
async def delete_item(request: Request, item_id: UUID, caller: ItemsWriter) -> Accepted:
    """Remove an Item: it is synced no more from now on, and Plaid is asked until it agrees. Its rows stay."""
    await remove_item(services_of(request).resources, item_id, actor_of(caller))
    return Accepted(status="removing", item_id=item_id)


@router.get("/items/{item_id}/transactions", tags=["transactions"], responses=problems(404))
async def list_transactions(
    request: Request, item_id: UUID, _caller: ItemsReader, asked: Annotated[TransactionQuery, Query()]
) -> PageOf[Transaction]:
    """List an Item's transactions, latest day first."""
    database = services_of(request).resources.database
    page = await find_transactions(database, item_id, asked.filter(), asked.limit, asked.cursor)
    return PageOf[Transaction].model_validate(page)
