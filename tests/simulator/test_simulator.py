"""The simulator, seen through plaid-python's typed models with their default settings."""

import hashlib
import json

import jwt
import plaid
import pytest
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.transactions_sync_request import TransactionsSyncRequest

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


def test_typed_models_accept_pages_items_and_accounts(api, item):
    token = item["access_token"]
    first = api.transactions_sync(TransactionsSyncRequest(access_token=token, count=10))
    assert (len(first.added), first.has_more) == (10, True)
    assert api.item_get(ItemGetRequest(access_token=token)).item.item_id == item["item_id"]
    assert len(api.accounts_get(AccountsGetRequest(access_token=token)).accounts) == 2


def test_pages_replayed_come_to_the_ledger(api, simulator, item):
    rows, cursor = {}, ""
    for _ in range(3):
        more = True
        while more:
            asked = TransactionsSyncRequest(access_token=item["access_token"], cursor=cursor, count=7)
            page = api.transactions_sync(asked)
            rows |= {one.transaction_id: one.amount for one in (*page.added, *page.modified)}
            for gone in page.removed:
                del rows[gone.transaction_id]
            cursor, more = page.next_cursor, page.has_more
        truth = simulator.control("ledger", item_id=item["item_id"])["transactions"]
        assert rows == {one["transaction_id"]: one["amount"] for one in truth}
        simulator.control("evolve", item_ids=[item["item_id"]], added=9, modified=5, removed=4, posted=2)


def test_a_change_between_two_pages_outdates_the_loop_but_not_its_first_cursor(api, simulator, item):
    token = item["access_token"]
    first = api.transactions_sync(TransactionsSyncRequest(access_token=token, count=10))
    simulator.control("evolve", item_ids=[item["item_id"]], added=1)
    with pytest.raises(plaid.ApiException) as refused:
        api.transactions_sync(TransactionsSyncRequest(access_token=token, cursor=first.next_cursor))
    assert json.loads(refused.value.body)["error_code"] == MUTATION
    assert len(api.transactions_sync(TransactionsSyncRequest(access_token=token, count=500)).added) == 26


def test_another_items_cursor_and_wrong_keys_are_refused_in_plaids_words(simulator, item):
    other = simulator.link(transactions=1)
    answer = simulator.sync(item, simulator.sync(other).json()["next_cursor"])
    assert (answer.status_code, answer.json()["error_message"]) == (400, "cursor not associated with access_token")
    assert simulator.code(item, client_id="somebody") == "INVALID_API_KEYS"


def test_its_signature_verifies_with_the_key_that_it_names():
    from simulator.signing import SigningKey  # noqa: PLC0415 - next to its use

    key, body = SigningKey(), b'{\n  "a": 1\n}'
    public = jwt.PyJWK.from_dict(key.document(), algorithm="ES256")
    claims = jwt.decode(key.sign(body), public, algorithms=["ES256"])
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
