"""Plaid's endpoints, by path."""

from typing import Any

from simulator.endpoints.endpoint import Endpoint, ItemRequest
from simulator.endpoints.items import accounts_get, item_get, item_remove, token_invalidate
from simulator.endpoints.transactions import SyncRequest, transactions_sync
from simulator.endpoints.webhook_keys import KeyRequest, webhook_key_get

ENDPOINTS: dict[str, Endpoint[Any]] = {
    "/transactions/sync": Endpoint(SyncRequest, transactions_sync),
    "/item/get": Endpoint(ItemRequest, item_get),
    "/item/remove": Endpoint(ItemRequest, item_remove),
    "/accounts/get": Endpoint(ItemRequest, accounts_get),
    "/accounts/balance/get": Endpoint(ItemRequest, accounts_get),
    "/item/access_token/invalidate": Endpoint(ItemRequest, token_invalidate),
    "/webhook_verification_key/get": Endpoint(KeyRequest, webhook_key_get),
}

__all__ = ["ENDPOINTS"]
