"""The simulator, seen through plaid-python's typed models with their default settings."""

import hashlib
import json
import re
import sys

import httpx
import jwt
import plaid
import pytest
from plaid.api.plaid_api import PlaidApi
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.transactions_sync_request import TransactionsSyncRequest

from devstack.processes import open_supervisor

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


@pytest.fixture
def simulator(tmp_path):
    log = tmp_path / "simulator.log"
    with open_supervisor() as supervisor:
        supervisor.start("simulator", [sys.executable, "-m", "simulator", "--seed", "3"], log=log)
        supervisor.wait_ready("simulator", lambda: "listening" in log.read_text())
        with httpx.Client(base_url=re.search(r"http://\S+", log.read_text())[0]) as client:
            yield client


@pytest.fixture
def api(simulator):
    keys = {"clientId": "sandbox-client", "secret": "sandbox-secret", "plaidVersion": "2020-09-14"}
    with plaid.ApiClient(plaid.Configuration(host=str(simulator.base_url).rstrip("/"), api_key=keys)) as client:
        yield PlaidApi(client)


@pytest.fixture
def item(simulator):
    return simulator.post("/control/items", json={"transactions": 25}).json()["items"][0]


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
        truth = simulator.post("/control/ledger", json={"item_id": item["item_id"]}).json()["transactions"]
        assert rows == {one["transaction_id"]: one["amount"] for one in truth}
        simulator.post("/control/evolve", json={"added": 9, "modified": 5, "removed": 4, "posted": 2})


def test_a_change_between_two_pages_outdates_the_loop_but_not_its_first_cursor(api, simulator, item):
    token = item["access_token"]
    first = api.transactions_sync(TransactionsSyncRequest(access_token=token, count=10))
    simulator.post("/control/evolve", json={"added": 1})
    with pytest.raises(plaid.ApiException) as refused:
        api.transactions_sync(TransactionsSyncRequest(access_token=token, cursor=first.next_cursor))
    assert json.loads(refused.value.body)["error_code"] == MUTATION
    assert len(api.transactions_sync(TransactionsSyncRequest(access_token=token, count=500)).added) == 26


def test_another_items_cursor_and_wrong_keys_are_refused_in_plaids_words(simulator, item):
    other = simulator.post("/control/items", json={"transactions": 1}).json()["items"][0]
    keys = {"PLAID-CLIENT-ID": "sandbox-client", "PLAID-SECRET": "sandbox-secret"}
    asked = {"access_token": other["access_token"]}
    page = simulator.post("/transactions/sync", json=asked, headers=keys).json()
    foreign = {"access_token": item["access_token"], "cursor": page["next_cursor"]}
    answer = simulator.post("/transactions/sync", json=foreign, headers=keys)
    assert (answer.status_code, answer.json()["error_message"]) == (400, "cursor not associated with access_token")
    assert simulator.post("/transactions/sync", json=foreign).json()["error_code"] == "INVALID_API_KEYS"


def test_its_signature_verifies_with_the_key_that_it_names():
    from simulator.signing import SigningKey  # noqa: PLC0415 - next to its use

    key, body = SigningKey(), b'{\n  "a": 1\n}'
    public = jwt.PyJWK.from_dict(key.document(), algorithm="ES256")
    claims = jwt.decode(key.sign(body), public, algorithms=["ES256"])
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
