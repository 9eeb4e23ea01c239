from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.errors import PlaidError, invalid_field, invalid_input, missing_fields
from simulator.json_codec import decode, encode
from simulator.responses import item_document, sync_body
from simulator.state import Item, World, page_after
from simulator.webhooks import Webhooks

MAX_COUNT = 500
DEFAULT_COUNT = 100
Fields = dict[str, Any]
Handler = Callable[["Simulator", Fields], Awaitable[bytes | Fields]]


@dataclass(slots=True)
class Simulator:
    """The world, its webhooks and the one client that may ask."""

    world: World
    webhooks: Webhooks
    client_id: str
    secret: str

    def item(self, fields: Fields) -> Item:
        """Return the Item of the request's access token."""
        if "access_token" not in fields:
            raise missing_fields("access_token")
        return self.world.by_token(fields["access_token"])


async def transactions_sync(simulator: Simulator, fields: Fields) -> bytes:
    """Answer /transactions/sync."""
    item = simulator.item(fields)
    count = fields.get("count", DEFAULT_COUNT)
    if not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
        raise invalid_field("count must be between 1 and 500")
    options = fields.get("options") or {}
    page = page_after(item, fields.get("cursor") or "", count)
    described = bool(options.get("include_original_description"))
    return sync_body(item, page, simulator.world.identifiers.short_id(), described=described)


async def item_get(simulator: Simulator, fields: Fields) -> Fields:
    """Answer /item/get."""
    return {"item": item_document(simulator.item(fields)), "status": None}


async def item_remove(simulator: Simulator, fields: Fields) -> Fields:
    """Answer /item/remove: the token is dead at once."""
    simulator.item(fields).removed = True
    return {}


async def accounts_get(simulator: Simulator, fields: Fields) -> Fields:
    """Answer /accounts/get and /accounts/balance/get."""
    item = simulator.item(fields)
    return {"accounts": item.accounts, "item": item_document(item)}


async def token_invalidate(simulator: Simulator, fields: Fields) -> Fields:
    """Answer /item/access_token/invalidate."""
    return {"new_access_token": simulator.world.replace_token(simulator.item(fields))}


async def webhook_key_get(simulator: Simulator, fields: Fields) -> Fields:
    """Answer /webhook_verification_key/get."""
    return {"key": simulator.world.key(fields.get("key_id")).document()}


ENDPOINTS: dict[str, Handler] = {
    "/transactions/sync": transactions_sync,
    "/item/get": item_get,
    "/item/remove": item_remove,
    "/accounts/get": accounts_get,
    "/accounts/balance/get": accounts_get,
    "/item/access_token/invalidate": token_invalidate,
    "/webhook_verification_key/get": webhook_key_get,
}


async def control_items(simulator: Simulator, fields: Fields) -> Fields:
    """Link Items: `count` of them with `transactions` each."""
    made = [
        simulator.world.add_item(fields.get("transactions", 0), fields.get("accounts", 2), fields.get("webhook"))
        for _ in range(fields.get("count", 1))
    ]
    shown = ("item_id", "access_token", "institution_id")
    return {"items": [{name: getattr(item, name) for name in shown} for item in made]}


async def control_evolve(simulator: Simulator, fields: Fields) -> Fields:
    """Change ledgers, of all Items or of `item_ids`, and announce it by webhooks if asked to."""
    total: dict[str, int] = {}
    for item_id in fields.get("item_ids") or list(simulator.world.items):
        item = simulator.world.items[item_id]
        asked = [int(fields.get(name, 0)) for name in ("added", "modified", "removed", "posted")]
        for name, number in simulator.world.evolve(item, *asked).items():
            total[name] = total.get(name, 0) + number
        if fields.get("announce"):
            total["announced"] = total.get("announced", 0) + simulator.webhooks.sync_updates_available(item)
    return total


async def control_ledger(simulator: Simulator, fields: Fields) -> Fields:
    """Return the truth about an Item."""
    item = simulator.world.items[fields["item_id"]]
    return {"accounts": item.accounts, "transactions": [decode(e.described()) for e in item.ledger.standing()]}


async def control_webhooks(simulator: Simulator, _fields: Fields) -> Fields:
    """Return what became of every webhook, once none is under way."""
    await simulator.webhooks.idle()
    return {"webhooks": [asdict(delivery) for delivery in simulator.webhooks.deliveries]}


CONTROLS: dict[str, Handler] = {
    "/control/items": control_items,
    "/control/evolve": control_evolve,
    "/control/ledger": control_ledger,
    "/control/webhooks": control_webhooks,
}


def make_app(simulator: Simulator) -> Starlette:
    """Return the server of Plaid's endpoints and of the control API; all of them are POST with JSON."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await simulator.webhooks.close()

    routes = [
        Route(path, _route(simulator, handler, guarded=True), methods=["POST"]) for path, handler in ENDPOINTS.items()
    ]
    routes += [
        Route(path, _route(simulator, handler, guarded=False), methods=["POST"]) for path, handler in CONTROLS.items()
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _route(simulator: Simulator, handler: Handler, *, guarded: bool) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        request_id = simulator.world.identifiers.short_id()
        try:
            fields = decode(await request.body() or b"{}")
            if guarded:
                _authenticate(simulator, request, fields)
            found = await handler(simulator, fields)
        except PlaidError as error:
            document = error.document() | {"request_id": request_id}
            return Response(encode(document), error.status, media_type="application/json")
        body = found if isinstance(found, bytes) else encode(found | {"request_id": request_id})
        return Response(body, media_type="application/json")

    return answer


def _authenticate(simulator: Simulator, request: Request, fields: Fields) -> None:
    client_id = fields.get("client_id") or request.headers.get("plaid-client-id")
    secret = fields.get("secret") or request.headers.get("plaid-secret")
    if (client_id, secret) != (simulator.client_id, simulator.secret):
        raise invalid_input("INVALID_API_KEYS", "invalid client_id or secret provided")
