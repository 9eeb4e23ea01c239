"""/transactions/sync as Plaid describes it."""

import pytest

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


def apply(rows, pages):
    for page in pages:
        rows |= {one["transaction_id"]: one["amount"] for one in (*page["added"], *page["modified"])}
    for page in pages:
        for gone in page["removed"]:
            rows.pop(gone["transaction_id"], None)
    return rows


def amounts(truth):
    return {transaction_id: one["amount"] for transaction_id, one in truth.items()}


@pytest.mark.parametrize("split", [None, "removed_last", "removed_first"])
def test_pages_replayed_come_to_the_ledger(simulator, item, split):
    rows, cursor = {}, ""
    for _ in range(3):
        pages = simulator.loop(item, cursor, count=7)
        assert amounts(simulator.truth(item)) == apply(rows, pages)
        cursor = pages[-1]["next_cursor"]
        simulator.evolve(item, added=9, modified=5, removed=4, posted=2, split=split)


def test_a_pending_one_is_posted_under_a_new_id_that_names_the_old_one(simulator, item):
    simulator.evolve(item, added=20)
    cursor = simulator.sync(item, count=500).json()["next_cursor"]
    assert simulator.evolve(item, posted=1)["posted"] == 1
    page = simulator.sync(item, cursor).json()
    assert page["added"][0]["pending_transaction_id"] == page["removed"][0]["transaction_id"]
    assert (page["added"][0]["pending"], page["modified"]) == (False, [])


def test_removals_come_on_pages_of_their_own_when_split(simulator, item):
    cursor = simulator.sync(item, count=500).json()["next_cursor"]
    simulator.evolve(item, added=3, removed=2, split="removed_last")
    pages = simulator.loop(item, cursor, count=500)
    assert [(len(page["added"]), len(page["removed"])) for page in pages] == [(3, 0), (0, 2)]
    simulator.evolve(item, split="removed_first")
    pages = simulator.loop(item, cursor, count=500)
    assert [(len(page["added"]), len(page["removed"])) for page in pages] == [(0, 2), (3, 0)]


def test_count_bounds_all_arrays_together(simulator, item):
    cursor = simulator.sync(item, count=500).json()["next_cursor"]
    simulator.evolve(item, added=3, modified=3, removed=3)
    pages = simulator.loop(item, cursor, count=2)
    assert [sum(len(page[name]) for name in ("added", "modified", "removed")) for page in pages] == [2, 2, 2, 2, 1]


def test_a_change_between_two_pages_outdates_the_loop_but_not_its_first_cursor(simulator, item):
    cursor = simulator.sync(item, count=10).json()["next_cursor"]
    simulator.evolve(item, added=1)
    assert [simulator.code(item, cursor), simulator.code(item, cursor)] == [MUTATION] * 2
    assert len(simulator.sync(item, count=500).json()["added"]) == 26


def test_now_gives_a_cursor_alone_and_old_ones_that_change_afterwards_are_added(simulator, item):
    page = simulator.sync(item, "now").json()
    assert (page["added"], page["has_more"]) == ([], False)
    simulator.evolve(item, modified=2)
    page = simulator.sync(item, page["next_cursor"]).json()
    assert (len(page["added"]), page["modified"]) == (2, [])
    simulator.evolve(item, modified=25)
    page = simulator.sync(item, page["next_cursor"]).json()
    assert (len(page["added"]), len(page["modified"])) == (23, 2)


def test_an_account_has_a_stream_and_a_cursor_of_its_own(simulator, item):
    account_ids = [one["account_id"] for one in simulator.ask("/accounts/get", item).json()["accounts"]]
    pages = [simulator.sync(item, options={"account_id": one}).json() for one in account_ids]
    assert sum(len(page["added"]) for page in pages) == 25
    assert {one["account_id"] for one in pages[0]["added"]} == {account_ids[0]}
    assert simulator.code(item, pages[0]["next_cursor"], options={"account_id": account_ids[1]}) == "INVALID_FIELD"
    assert simulator.code(item, pages[0]["next_cursor"]) == "INVALID_FIELD"
    assert simulator.code(item, options={"account_id": "nobody's"}) == "INVALID_ACCOUNT_ID"


def test_history_comes_in_two_steps_that_are_announced_once_the_item_was_asked(simulator, receiver):
    item = simulator.link(transactions=200, status="NOT_READY", webhook=receiver.url)
    page = simulator.sync(item).json()
    assert (page["added"], page["next_cursor"], page["has_more"]) == ([], "", False)
    assert page["transactions_update_status"] == "NOT_READY"
    seen = []
    for expected in ("INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"):
        simulator.control("extract", item_ids=[item["item_id"]])
        page = simulator.sync(item, page["next_cursor"], count=500).json()
        seen.append(len(page["added"]))
        assert page["transactions_update_status"] == expected
    assert sum(seen) == 200 > seen[0] > 0
    codes = [one["code"] for one in simulator.control("webhooks", item_id=item["item_id"])["webhooks"]]
    assert sorted(codes) == ["HISTORICAL_UPDATE", "INITIAL_UPDATE", "SYNC_UPDATES_AVAILABLE", "SYNC_UPDATES_AVAILABLE"]


def test_an_item_without_the_product_gets_it_by_the_first_call(simulator):
    asked = {"institution_id": "ins_109508", "initial_products": ["assets"]}
    public = simulator.http.post("/sandbox/public_token/create", json=asked).json()
    item = simulator.http.post("/item/public_token/exchange", json={"public_token": public["public_token"]}).json()
    assert simulator.sync(item).json()["added"] == []
    assert simulator.sync(item, options={"days_requested": 90}, count=500).json()["added"]


def test_an_account_that_churned_has_new_ids_and_its_transactions_too(simulator, item):
    cursor = simulator.sync(item, count=500).json()["next_cursor"]
    simulator.control("churn", item_ids=[item["item_id"]])
    page = simulator.sync(item, cursor, count=500).json()
    assert (len(page["added"]), len(page["removed"])) == (25, 25)
    simulator.control("churn", item_ids=[item["item_id"]], keep_transaction_ids=True)
    page = simulator.sync(item, page["next_cursor"], count=500).json()
    assert (len(page["modified"]), page["removed"]) == (25, [])


def test_refresh_moves_the_dynamic_user_on_and_nobody_else(simulator, receiver):
    item = simulator.link(transactions=300, webhook=receiver.url)
    cursor = simulator.sync(item, count=500).json()["next_cursor"]
    before = simulator.truth(item)
    assert simulator.ask("/transactions/refresh", item).json().keys() == {"request_id"}
    page = simulator.sync(item, cursor, count=500).json()
    pending = {one["transaction_id"] for one in before.values() if one["pending"]}
    assert {one["transaction_id"] for one in page["removed"]} == pending
    assert sum(one["pending"] for one in page["added"]) == 3
    raised = page["modified"][0]
    assert raised["amount"] == pytest.approx(before[raised["transaction_id"]]["amount"] + 1)
    still = simulator.link(transactions=5, user="user_good")
    cursor = simulator.sync(still).json()["next_cursor"]
    simulator.ask("/transactions/refresh", still)
    assert simulator.sync(still, cursor).json()["added"] == []


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"count": 0}, "INVALID_FIELD", "count"),
        ({"count": 501}, "INVALID_FIELD", "count"),
        ({"count": "9"}, "INVALID_FIELD", "count"),
        ({"options": None}, "INVALID_FIELD", "options"),
        ({"options": {"days_requested": 731}}, "INVALID_FIELD", "options.days_requested"),
        ({"options": {"colour": 1}}, "UNKNOWN_FIELDS", "colour"),
        ({"start_date": "2026-01-01"}, "UNKNOWN_FIELDS", "start_date"),
        ({"cursor": "x" * 257}, "INVALID_FIELD", "cursor"),
        ({"cursor": "bm90IG91cnM="}, "INVALID_FIELD", "cursor"),
        ({"access_token": "access-production-1"}, "INVALID_ACCESS_TOKEN", "access token"),
        ({"access_token": "access-sandbox-1"}, "INVALID_ACCESS_TOKEN", "access token"),
        ({"access_token": 7}, "INVALID_FIELD", "access_token"),
        ({"client_id": "somebody"}, "INVALID_API_KEYS", "client_id"),
    ],
)
def test_wrong_fields_are_refused_in_plaids_words(simulator, item, fields, code, named):
    answer = simulator.http.post("/transactions/sync", json={"access_token": item["access_token"], **fields})
    assert (answer.status_code, answer.json()["error_code"]) == (400, code)
    assert named in answer.json()["error_message"]


def test_other_requests_that_make_no_sense_are_refused_too(simulator, item):
    other = simulator.sync(simulator.link(transactions=1)).json()["next_cursor"]
    assert simulator.sync(item, other).json()["error_message"] == "cursor not associated with access_token"
    assert simulator.http.post("/transactions/sync", json={}).json()["error_code"] == "MISSING_FIELDS"
    assert simulator.http.post("/transactions/sync", content=b"{").json()["error_code"] == "INVALID_BODY"
    assert simulator.http.post("/transactions/sync", content=b"[1]").json()["error_code"] == "INVALID_FIELD"
    answer = simulator.http.post("/transactions/sink", json={})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")
