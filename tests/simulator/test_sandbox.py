"""The rules of the sandbox's own endpoints."""

from datetime import UTC, datetime, timedelta

import pytest


def new_transaction(posted=0, transacted=0, **fields):
    """Return a transaction by its ages in days."""
    today = datetime.now(UTC).date()
    dates = {"date_posted": today - timedelta(posted), "date_transacted": today - timedelta(transacted)}
    return {"amount": 4.25, "description": "Tea"} | {name: str(day) for name, day in dates.items()} | fields


def create(simulator, item, *transactions):
    return simulator.ask("/sandbox/transactions/create", item, transactions=list(transactions)).json()


def test_transactions_made_by_hand_are_synced_and_announced(simulator, item, receiver):
    simulator.ask("/item/webhook/update", item, webhook=receiver.url)
    cursor = simulator.sync(item).json()["next_cursor"]
    assert create(simulator, item, new_transaction(1, 3), new_transaction(amount=-10.5)).keys() == {"request_id"}
    added = simulator.sync(item, cursor).json()["added"]
    assert [(one["amount"], one["name"], one["pending"]) for one in added] == [
        (4.25, "Tea", False),
        (-10.5, "Tea", False),
    ]
    assert added[0].keys() == next(iter(simulator.truth(item).values())).keys() - {"original_description"}
    codes = {one["code"] for one in simulator.control("webhooks", item_id=item["item_id"])["webhooks"]}
    assert codes == {"WEBHOOK_UPDATE_ACKNOWLEDGED", "SYNC_UPDATES_AVAILABLE"}


@pytest.mark.parametrize(
    ("transactions", "code"),
    [
        ([new_transaction()] * 11, "INVALID_FIELD"),
        ([], "INVALID_FIELD"),
        ([new_transaction(), new_transaction(-1, 0)], "INVALID_FIELD"),
        ([new_transaction(3, 15)], "INVALID_FIELD"),
        ([new_transaction(3, 2)], "INVALID_FIELD"),
        ([new_transaction(account_id="nobody's")], "INVALID_ACCOUNT_ID"),
        ([new_transaction(amount="much")], "INVALID_FIELD"),
        ([{"amount": 1}], "MISSING_FIELDS"),
        ([new_transaction(mood="good")], "UNKNOWN_FIELDS"),
    ],
)
def test_one_against_the_rules_and_none_is_made(simulator, item, transactions, code):
    assert create(simulator, item, *transactions)["error_code"] == code
    assert len(simulator.truth(item)) == 25


def test_only_the_dynamic_user_gets_transactions_by_hand(simulator):
    still = simulator.link(user="user_good")
    assert create(simulator, still, new_transaction())["error_code"] == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [
        (
            "/sandbox/public_token/create",
            {"institution_id": "ins_0", "initial_products": ["assets"]},
            "INVALID_INSTITUTION",
        ),
        ("/sandbox/public_token/create", {"institution_id": "ins_109508", "initial_products": []}, "INVALID_FIELD"),
        ("/institutions/get_by_id", {"institution_id": "ins_0", "country_codes": ["US"]}, "INVALID_INSTITUTION"),
        ("/institutions/get_by_id", {"institution_id": "ins_109508"}, "MISSING_FIELDS"),
        ("/item/public_token/exchange", {"public_token": "public-sandbox-1"}, "INVALID_PUBLIC_TOKEN"),
    ],
)
def test_what_names_nothing_is_refused(simulator, path, fields, code):
    assert simulator.http.post(path, json=fields).json()["error_code"] == code


def test_accounts_are_chosen_by_id(simulator, item):
    accounts = simulator.ask("/accounts/balance/get", item).json()["accounts"]
    chosen = {"options": {"account_ids": [accounts[1]["account_id"]]}}
    assert simulator.ask("/accounts/balance/get", item, **chosen).json()["accounts"] == accounts[1:]
    wrong = {"options": {"account_ids": ["nobody's"]}}
    assert simulator.ask("/accounts/get", item, **wrong).json()["error_code"] == "INVALID_ACCOUNT_ID"


def test_a_webhook_of_a_product_the_item_has_not_is_refused(simulator):
    asked = {
        "institution_id": "ins_109508",
        "initial_products": ["assets"],
        "options": {"webhook": "http://127.0.0.1:9/"},
    }
    public = simulator.http.post("/sandbox/public_token/create", json=asked).json()
    item = simulator.http.post("/item/public_token/exchange", json={"public_token": public["public_token"]}).json()
    fired = simulator.ask("/sandbox/item/fire_webhook", item, webhook_code="DEFAULT_UPDATE").json()
    assert (fired["error_type"], fired["error_code"]) == ("SANDBOX_ERROR", "SANDBOX_PRODUCT_NOT_ENABLED")
    wrong = {"webhook_code": "LOGIN_REPAIRED", "webhook_type": "TRANSACTIONS"}
    assert simulator.ask("/sandbox/item/fire_webhook", item, **wrong).json()["error_code"] == "INVALID_FIELD"
