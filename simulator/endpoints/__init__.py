"""Plaid's endpoints, by path."""

from typing import Any

from simulator.endpoints.accounts import AccountsRequest, BalanceRequest, accounts_get
from simulator.endpoints.endpoint import Endpoint, ItemRequest
from simulator.endpoints.items import (
    ExchangeRequest,
    InstitutionRequest,
    RemoveRequest,
    WebhookUpdateRequest,
    institution_get,
    item_get,
    item_remove,
    public_token_exchange,
    token_invalidate,
    webhook_update,
)
from simulator.endpoints.link import LinkTokenRequest, link_token_create
from simulator.endpoints.sandbox import (
    FireWebhookRequest,
    NewTransactionsRequest,
    PublicTokenRequest,
    fire_webhook,
    public_token_create,
    reset_login,
    transactions_create,
)
from simulator.endpoints.transactions import SyncRequest, transactions_refresh, transactions_sync
from simulator.endpoints.webhook_keys import KeyRequest, webhook_key_get

ENDPOINTS: dict[str, Endpoint[Any]] = {
    "/transactions/sync": Endpoint(SyncRequest, transactions_sync),
    "/transactions/refresh": Endpoint(ItemRequest, transactions_refresh),
    "/item/get": Endpoint(ItemRequest, item_get),
    "/item/remove": Endpoint(RemoveRequest, item_remove),
    "/item/public_token/exchange": Endpoint(ExchangeRequest, public_token_exchange),
    "/item/access_token/invalidate": Endpoint(ItemRequest, token_invalidate),
    "/item/webhook/update": Endpoint(WebhookUpdateRequest, webhook_update),
    "/accounts/get": Endpoint(AccountsRequest, accounts_get),
    "/accounts/balance/get": Endpoint(BalanceRequest, accounts_get),
    "/link/token/create": Endpoint(LinkTokenRequest, link_token_create),
    "/institutions/get_by_id": Endpoint(InstitutionRequest, institution_get),
    "/webhook_verification_key/get": Endpoint(KeyRequest, webhook_key_get),
    "/sandbox/public_token/create": Endpoint(PublicTokenRequest, public_token_create),
    "/sandbox/item/fire_webhook": Endpoint(FireWebhookRequest, fire_webhook),
    "/sandbox/item/reset_login": Endpoint(ItemRequest, reset_login),
    "/sandbox/transactions/create": Endpoint(NewTransactionsRequest, transactions_create),
}

__all__ = ["ENDPOINTS"]
