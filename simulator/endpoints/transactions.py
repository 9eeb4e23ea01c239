"""The endpoints of /transactions."""

from typing import Annotated, Any, Literal

import msgspec

from simulator.bank.changes import refresh
from simulator.bank.item import DYNAMIC_USER, UNKNOWN, Item
from simulator.bank.paging import EMPTY, page_after
from simulator.endpoints.endpoint import ItemRequest
from simulator.errors import invalid_input
from simulator.responses import sync_body
from simulator.simulator import Simulator

MAX_COUNT = 500
DEFAULT_COUNT = 100
MAX_CURSOR = 256


class SyncOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options that /transactions/sync documents; the data is of category version 2 whatever is asked for."""

    include_original_description: bool | None = False
    personal_finance_category_version: Literal["v1", "v2"] = "v2"
    days_requested: Annotated[int, msgspec.Meta(ge=1, le=730)] | None = None
    account_id: str | None = None
    include_personal_finance_category: bool | None = None
    include_logo_and_counterparty_beta: bool | None = None


class SyncRequest(ItemRequest, frozen=True):
    """Asks for the updates after a cursor."""

    cursor: Annotated[str, msgspec.Meta(max_length=MAX_CURSOR)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = DEFAULT_COUNT
    options: SyncOptions = SyncOptions()


async def transactions_sync(simulator: Simulator, asked: SyncRequest) -> bytes:
    """Answer /transactions/sync; the first call initialises and arms the Item."""
    item = simulator.world.by_token(asked.access_token)
    item.require_login()
    account_id = _account_id(item, asked.options.account_id)
    is_ready = item.is_ready()
    page = page_after(item, asked.cursor or "", asked.count, account_id) if is_ready else EMPTY
    described = bool(asked.options.include_original_description)
    body = sync_body(item, page, simulator.world.request_ids.short_id(), described=described)
    item.armed = True
    if item.status == UNKNOWN:
        item.days_requested = asked.options.days_requested or item.days_requested
        item.products.append("transactions")
        simulator.start_extraction(item)
    return body


async def transactions_refresh(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /transactions/refresh: the dynamic test user's transactions change, and every webhook of it fires."""
    item = simulator.world.by_token(asked.access_token)
    item.require_login()
    if item.username != DYNAMIC_USER or not item.is_ready():
        return {}
    gone = refresh(simulator.world, item)
    item.last_update = simulator.world.clock.now()
    simulator.webhooks.sync_updates_available(item)
    simulator.webhooks.send(item, "DEFAULT_UPDATE")
    if gone:
        simulator.webhooks.send(item, "TRANSACTIONS_REMOVED", {"removed_transactions": gone})
    return {}


def _account_id(item: Item, account_id: str | None) -> str:
    if account_id and item.account(account_id) is None:
        raise invalid_input("INVALID_ACCOUNT_ID", "failed to find requested account ID for requested item")
    return account_id or ""
