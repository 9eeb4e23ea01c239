"""The endpoints of /item and /accounts."""

from typing import Any

from simulator.endpoints.endpoint import ItemRequest
from simulator.responses import item_document
from simulator.simulator import Simulator


async def item_get(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /item/get."""
    return {"item": item_document(simulator.world.by_token(asked.access_token)), "status": None}


async def item_remove(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /item/remove: the token is dead at once."""
    simulator.world.by_token(asked.access_token).removed = True
    return {}


async def accounts_get(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /accounts/get and /accounts/balance/get."""
    item = simulator.world.by_token(asked.access_token)
    return {"accounts": item.accounts, "item": item_document(item)}


async def token_invalidate(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /item/access_token/invalidate."""
    return {"new_access_token": simulator.world.replace_token(simulator.world.by_token(asked.access_token))}
