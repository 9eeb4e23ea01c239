"""/transactions/sync."""

from typing import Annotated

import msgspec

from simulator.endpoints.endpoint import ItemRequest
from simulator.responses import sync_body
from simulator.simulator import Simulator
from simulator.state import page_after

MAX_COUNT = 500
DEFAULT_COUNT = 100


class SyncOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options that /transactions/sync documents."""

    include_original_description: bool | None = False
    personal_finance_category_version: str | None = None
    days_requested: int | None = None
    account_id: str | None = None
    include_personal_finance_category: bool | None = None
    include_logo_and_counterparty_beta: bool | None = None


class SyncRequest(ItemRequest, frozen=True):
    """Asks for the updates after a cursor."""

    cursor: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = DEFAULT_COUNT
    options: SyncOptions = SyncOptions()


async def transactions_sync(simulator: Simulator, asked: SyncRequest) -> bytes:
    """Answer /transactions/sync."""
    item = simulator.world.by_token(asked.access_token)
    page = page_after(item, asked.cursor or "", asked.count)
    described = bool(asked.options.include_original_description)
    return sync_body(item, page, simulator.world.identifiers.short_id(), described=described)
