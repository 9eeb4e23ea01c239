"""plaid-python's typed models, with their default settings, take every answer of the simulator for Plaid's."""

import json
from datetime import UTC, datetime

import plaid
import pytest
from plaid.model.accounts_balance_get_request import AccountsBalanceGetRequest
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.accounts_get_request_options import AccountsGetRequestOptions
from plaid.model.country_code import CountryCode
from plaid.model.custom_sandbox_transaction import CustomSandboxTransaction
from plaid.model.institutions_get_by_id_request import InstitutionsGetByIdRequest
from plaid.model.item_access_token_invalidate_request import ItemAccessTokenInvalidateRequest
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.item_remove_request import ItemRemoveRequest
from plaid.model.item_webhook_update_request import ItemWebhookUpdateRequest
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.products import Products
from plaid.model.sandbox_item_fire_webhook_request import SandboxItemFireWebhookRequest
from plaid.model.sandbox_item_reset_login_request import SandboxItemResetLoginRequest
from plaid.model.sandbox_public_token_create_request import SandboxPublicTokenCreateRequest
from plaid.model.sandbox_public_token_create_request_options import SandboxPublicTokenCreateRequestOptions
from plaid.model.sandbox_transactions_create_request import SandboxTransactionsCreateRequest
from plaid.model.transactions_refresh_request import TransactionsRefreshRequest
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.transactions_sync_request_options import TransactionsSyncRequestOptions
from plaid.model.webhook_verification_key_get_request import WebhookVerificationKeyGetRequest


def refused(call, request):
    with pytest.raises(plaid.ApiException) as found:
        call(request)
    return found.value.status, json.loads(found.value.body)


def test_every_kind_of_change_is_a_page(api, simulator):
    item = simulator.link(transactions=4)
    token = item["access_token"]
    options = TransactionsSyncRequestOptions(include_original_description=True)
    first = api.transactions_sync(TransactionsSyncRequest(access_token=token, count=3, options=options))
    assert (len(first.added), first.has_more) == (3, True)
    assert first.added[0].original_description
    cursor = api.transactions_sync(TransactionsSyncRequest(access_token=token, cursor=first.next_cursor)).next_cursor
    simulator.evolve(item, added=1, modified=1, removed=1)
    changed = api.transactions_sync(TransactionsSyncRequest(access_token=token, cursor=cursor))
    assert [len(changed.added), len(changed.modified), len(changed.removed)] == [1, 1, 1]
    assert {one.account_id for one in changed.accounts} >= {changed.added[0].account_id}


def test_an_item_and_its_accounts(api, simulator, item, receiver):
    token = item["access_token"]
    account = api.accounts_get(AccountsGetRequest(access_token=token)).accounts[1].account_id
    options = AccountsGetRequestOptions(account_ids=[account])
    chosen = api.accounts_get(AccountsGetRequest(access_token=token, options=options)).accounts
    assert [one.account_id for one in chosen] == [account]
    assert len(api.accounts_balance_get(AccountsBalanceGetRequest(access_token=token)).accounts) == 2
    updated = api.item_webhook_update(ItemWebhookUpdateRequest(access_token=token, webhook=receiver.url))
    assert updated.item.webhook == receiver.url
    assert api.sandbox_item_reset_login(SandboxItemResetLoginRequest(access_token=token)).reset_login
    found = api.item_get(ItemGetRequest(access_token=token))
    assert found.item.error.error_code == "ITEM_LOGIN_REQUIRED"
    assert found.status.last_webhook.code_sent == "ERROR"
    status, error = refused(api.accounts_get, AccountsGetRequest(access_token=token))
    assert (status, error["error_type"], error["request_id"] != "") == (400, "ITEM_ERROR", True)


def test_a_token_is_replaced_and_an_item_removed(api, item):
    old = ItemAccessTokenInvalidateRequest(access_token=item["access_token"])
    token = api.item_access_token_invalidate(old).new_access_token
    assert refused(api.item_access_token_invalidate, old)[1]["error_code"] == "ITEM_NOT_FOUND"
    assert api.item_remove(ItemRemoveRequest(access_token=token, reason_note="moved")).request_id
    assert refused(api.item_get, ItemGetRequest(access_token=token))[1]["error_code"] == "ITEM_NOT_FOUND"


def test_link_makes_an_item_through_a_public_token_that_works_once(api, simulator, receiver):
    options = SandboxPublicTokenCreateRequestOptions(
        webhook=receiver.url, override_username="user_transactions_dynamic", override_password="any"
    )
    made = SandboxPublicTokenCreateRequest(
        institution_id="ins_109508", initial_products=[Products("transactions")], options=options
    )
    exchange = ItemPublicTokenExchangeRequest(public_token=api.sandbox_public_token_create(made).public_token)
    token = api.item_public_token_exchange(exchange).access_token
    assert refused(api.item_public_token_exchange, exchange)[1]["error_code"] == "INVALID_PUBLIC_TOKEN"
    codes = {json.loads(receiver.next()[1])["webhook_code"] for _ in range(2)}
    assert codes == {"INITIAL_UPDATE", "HISTORICAL_UPDATE"}
    today = datetime.now(UTC).date()
    created = CustomSandboxTransaction(date_transacted=today, date_posted=today, amount=4.5, description="Tea")
    api.sandbox_transactions_create(SandboxTransactionsCreateRequest(access_token=token, transactions=[created]))
    fired = SandboxItemFireWebhookRequest(access_token=token, webhook_code="NEW_ACCOUNTS_AVAILABLE")
    assert api.sandbox_item_fire_webhook(fired).webhook_fired
    assert api.transactions_refresh(TransactionsRefreshRequest(access_token=token)).request_id


def test_link_tokens_banks_and_keys(api, simulator, item):
    asked = {"client_name": "Manna", "language": "en", "country_codes": [CountryCode("US")]}
    user = LinkTokenCreateRequestUser(client_user_id="u1")
    new = LinkTokenCreateRequest(**asked, user=user, products=[Products("transactions")])
    link_token = api.link_token_create(new)
    assert link_token.link_token.startswith("link-sandbox-")
    update = api.link_token_create(LinkTokenCreateRequest(**asked, user=user, access_token=item["access_token"]))
    assert update.expiration < link_token.expiration
    assert (
        refused(api.link_token_create, LinkTokenCreateRequest(**asked, user=user))[1]["error_code"] == "MISSING_FIELDS"
    )
    bank = InstitutionsGetByIdRequest(institution_id=item["institution_id"], country_codes=[CountryCode("US")])
    assert api.institutions_get_by_id(bank).institution.institution_id == item["institution_id"]
    key_id = simulator.control("keys")["keys"][-1]["kid"]
    assert api.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=key_id)).key.kid == key_id
    status, error = refused(api.webhook_verification_key_get, WebhookVerificationKeyGetRequest(key_id="none"))
    assert (status, error["error_code"]) == (400, "INVALID_WEBHOOK_VERIFICATION_KEY_ID")
