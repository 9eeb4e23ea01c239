"""The endpoint of /link/token."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec

from simulator.bank.clock import stamp
from simulator.bank.world import LinkSession
from simulator.endpoints.endpoint import PlaidRequest, web_address
from simulator.errors import invalid_field, missing_fields
from simulator.simulator import Simulator

NEW_LIFE, UPDATE_LIFE = timedelta(hours=4), timedelta(minutes=30)
DEFAULT_DAYS = 90
Named = Annotated[list[str], msgspec.Meta(min_length=1)]


class LinkUser(msgspec.Struct, frozen=True):
    """The user; of the many fields only this one is needed."""

    client_user_id: Annotated[str, msgspec.Meta(min_length=1)]


class LinkTransactions(msgspec.Struct, frozen=True):
    """What is asked of transactions."""

    days_requested: Annotated[int, msgspec.Meta(ge=1, le=730)] = DEFAULT_DAYS


class LinkUpdate(msgspec.Struct, frozen=True):
    """What update mode is for."""

    account_selection_enabled: bool = False


# Plaid documents some fifty more fields; they are accepted and change nothing here.
class LinkTokenRequest(PlaidRequest, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Asks for a link token, for a new Item or, with an `access_token`, for update mode."""

    client_name: Annotated[str, msgspec.Meta(min_length=1, max_length=30)]
    language: str
    country_codes: Named
    user: LinkUser | None = None
    products: list[str] | None = None
    webhook: str | None = None
    access_token: str | None = None
    transactions: LinkTransactions = LinkTransactions()
    update: LinkUpdate | None = None


async def link_token_create(simulator: Simulator, asked: LinkTokenRequest) -> dict[str, Any]:
    """Answer /link/token/create."""
    world = simulator.world
    item = None if asked.access_token is None else world.by_token(asked.access_token)
    if asked.user is None:
        raise missing_fields("user")
    if item is None and not asked.products:
        raise missing_fields("products")
    if item is not None and asked.products:
        raise invalid_field("products should not be set in update mode")
    expiration = world.clock.now() + (NEW_LIFE if item is None else UPDATE_LIFE)
    token = world.identifiers.token("link")
    webhook = web_address("webhook", asked.webhook)
    days = asked.transactions.days_requested
    world.links[token] = LinkSession(expiration, item, webhook, asked.products or [], days)
    return {"link_token": token, "expiration": stamp(expiration)}
