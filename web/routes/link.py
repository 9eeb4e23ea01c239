"""Linking: opening Link, and taking over what the user has linked."""

from fastapi import APIRouter, Request, Response

from core.items.duplicates import AccountHint
from core.items.linking import PublicToken, link_item, open_link
from core.queries.items import read_item
from web.auth import ItemsWriter, actor_of
from web.idempotency import IdempotentRoute
from web.schemas.items import Item, LinkItemRequest, LinkToken, LinkTokenRequest
from web.schemas.listing import problems
from web.services import services_of

# No idempotency for link tokens: another one harms nobody, and kept it would be a secret at rest.
link_tokens = APIRouter(tags=["link"])
router = APIRouter(tags=["link"], route_class=IdempotentRoute)


@link_tokens.post("/link-token", status_code=201, responses=problems(404, 409, 502))
async def create_link_token(request: Request, asked: LinkTokenRequest, caller: ItemsWriter) -> LinkToken:
    """Open Link for a user: to link a bank, or in update mode to repair an Item."""
    resources = services_of(request).resources
    link = await open_link(
        resources, asked.user_id, actor_of(caller), item_id=asked.item_id, select_accounts=asked.select_accounts
    )
    return LinkToken(link_token=link.link_token, expiration=link.expiration)


@router.post("/items", status_code=201, responses=problems(409, 502))
async def create_item(request: Request, response: Response, asked: LinkItemRequest, caller: ItemsWriter) -> Item:
    """Take over what a user has just linked: its token is sealed and stored, its webhooks come here, its sync begins.

    409 with `duplicate-item` and the Item's id if the user has these accounts linked already; the new one is removed.
    """
    resources = services_of(request).resources
    hints = [AccountHint(account.name, account.mask) for account in asked.accounts]
    given = PublicToken(asked.user_id, asked.public_token, asked.institution_id, hints, asked.allow_duplicate)
    item_id = await link_item(resources, given, actor_of(caller))
    response.headers["Location"] = f"/api/v1/items/{item_id}"
    return Item.model_validate(await read_item(resources.database, item_id))
