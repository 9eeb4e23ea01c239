"""The endpoints of /item and /institutions."""

from typing import Annotated, Any

import msgspec

from simulator.bank.merchants import BY_ID
from simulator.endpoints.endpoint import ItemRequest, PlaidRequest, web_address
from simulator.errors import invalid_input
from simulator.responses import item_document, status_document
from simulator.simulator import Simulator

MAX_NOTE = 512


class RemoveRequest(ItemRequest, frozen=True):
    """Asks to remove an Item."""

    reason_code: str | None = None
    reason_note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE)] | None = None


class ExchangeRequest(PlaidRequest, frozen=True, kw_only=True):
    """Asks for the access token of a public token."""

    public_token: str


class WebhookUpdateRequest(ItemRequest, frozen=True):
    """Asks for another address; null for none."""

    webhook: str | None = None


class InstitutionRequest(PlaidRequest, frozen=True, kw_only=True):
    """Asks for a bank."""

    institution_id: str
    country_codes: Annotated[list[str], msgspec.Meta(min_length=1)]
    options: dict[str, Any] = msgspec.field(default_factory=dict)


async def item_get(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /item/get."""
    item = simulator.world.by_token(asked.access_token)
    return {"item": item_document(item), "status": status_document(item)}


async def item_remove(simulator: Simulator, asked: RemoveRequest) -> dict[str, Any]:
    """Answer /item/remove: the token is dead at once."""
    simulator.world.by_token(asked.access_token).removed = True
    return {}


async def public_token_exchange(simulator: Simulator, asked: ExchangeRequest) -> dict[str, Any]:
    """Answer /item/public_token/exchange."""
    item = simulator.world.exchange(asked.public_token)
    return {"access_token": item.access_token, "item_id": item.item_id}


async def token_invalidate(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /item/access_token/invalidate."""
    return {"new_access_token": simulator.world.replace_token(simulator.world.by_token(asked.access_token))}


async def webhook_update(simulator: Simulator, asked: WebhookUpdateRequest) -> dict[str, Any]:
    """Answer /item/webhook/update, and acknowledge it at the new address."""
    item = simulator.world.by_token(asked.access_token)
    item.webhook = web_address("webhook", asked.webhook)
    simulator.webhooks.send(item, "WEBHOOK_UPDATE_ACKNOWLEDGED")
    return {"item": item_document(item)}


async def institution_get(_simulator: Simulator, asked: InstitutionRequest) -> dict[str, Any]:
    """Answer /institutions/get_by_id."""
    institution = BY_ID.get(asked.institution_id)
    if institution is None:
        raise invalid_input("INVALID_INSTITUTION", "invalid institution_id provided")
    return {
        "institution": {
            "institution_id": institution.institution_id,
            "name": institution.name,
            "products": ["assets", "balance", "transactions"],
            "country_codes": ["US"],
            "url": "https://plaid.com",
            "primary_color": "#1f1f1f",
            "logo": None,
            "routing_numbers": [],
            "dtc_numbers": [],
            "oauth": False,
            "connection_availability": "SUPPORTED",
        }
    }
