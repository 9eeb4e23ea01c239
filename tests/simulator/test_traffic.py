"""Requests are counted, limited and slowed down as asked; tokens age with the simulator's clock."""

from random import Random

import pytest

from simulator.errors import PlaidError
from simulator.traffic import Latency
from simulator.traffic.limits import PUBLISHED, Budget, LimitRules, Limits

SYNC = "/transactions/sync"


class Clock:
    """A monotonic clock that goes when it is told to."""

    def __init__(self):
        self.now = 1200.0

    def __call__(self):
        return self.now


def limits(clock, **fields):
    found = Limits(clock)
    found.set(LimitRules(**fields))
    return found


def accepted(limits, item_id, calls):
    """Return how many of some calls at one moment are accepted."""
    count = 0
    for _ in range(calls):
        try:
            limits.check(SYNC, item_id)
        except PlaidError:
            continue
        count += 1
    return count


def test_published_limits_hold_for_each_item_and_for_the_client():
    found = limits(Clock())
    assert [accepted(found, f"i{number}", 60) for number in range(51)] == [50] * 50 + [0]
    assert sum(limit is not None for limit in PUBLISHED[SYNC]) == 4


def test_a_sliding_window_frees_what_is_a_minute_old_and_a_fixed_one_all_at_once():
    for window, afterwards in (("sliding", [0, 1, 1]), ("fixed", [0, 2, 0])):
        clock = Clock()
        clock.now += 40
        found = limits(clock, window=window, budgets={SYNC: Budget(item=2)})
        counts = [accepted(found, "i", 1)]
        clock.now += 10
        counts.append(accepted(found, "i", 1))
        for seconds in (5, 45, 10):
            clock.now += seconds
            counts.append(accepted(found, "i", 3))
        assert counts == [1, 1, *afterwards]


@pytest.mark.parametrize(("window", "seconds"), [("sliding", 60), ("fixed", 20)])
def test_a_refusal_says_whose_budget_it_is_and_when_to_come_back(window, seconds):
    clock = Clock()
    clock.now += 40
    found = limits(clock, window=window, client_scale=0.0004, retry_after=True)
    found.check(SYNC, "i")
    with pytest.raises(PlaidError, match="access this client") as refused:
        found.check(SYNC, "j")
    assert (refused.value.status, refused.value.error_code) == (429, "TRANSACTIONS_SYNC_LIMIT")
    assert refused.value.retry_after == seconds


def test_requests_are_counted_by_path_and_item_with_their_429s(own_simulator):
    item, other = (own_simulator.link(transactions=3) for _ in range(2))
    own_simulator.control("limits", budgets={SYNC: {"item": 2}}, minute_seconds=3600)
    statuses = [own_simulator.sync(one).status_code for one in (item, item, item, other)]
    assert statuses == [200, 200, 429, 200]
    counted = own_simulator.control("requests", journal=True, reset=True)
    assert counted["paths"] == {SYNC: {"requests": 4, "answers": {"200": 3, "429": 1}}}
    assert counted["items"][item["item_id"]] == {"requests": {SYNC: 3}, "limited": 1}
    assert [one["status"] for one in counted["journal"]] == statuses
    assert own_simulator.control("requests")["paths"] == {}
    own_simulator.control("limits", enforce=False)
    assert own_simulator.code(item) is None


def test_latency_holds_for_the_paths_it_is_set_for(own_simulator):
    latency = Latency(ms=30, jitter_ms=10, paths={"/item/get": 0})
    assert 0.03 <= latency.seconds(SYNC, Random(1)) <= 0.04
    assert latency.seconds("/item/get", Random(1)) <= 0.01
    set_ = own_simulator.control("latency", ms=1, paths={"/item/get": 0})
    assert set_ == {"ms": 1, "jitter_ms": 0, "paths": {"/item/get": 0}}
    assert own_simulator.code(own_simulator.link()) is None


def test_public_and_link_tokens_age(own_simulator):
    asked = {"institution_id": "ins_109508", "initial_products": ["transactions"]}
    public = own_simulator.http.post("/sandbox/public_token/create", json=asked).json()["public_token"]
    item = own_simulator.link()
    fields = {"client_name": "M", "language": "en", "country_codes": ["US"], "user": {"client_user_id": "u"}}
    update = own_simulator.ask("/link/token/create", item, **fields).json()["link_token"]
    new = own_simulator.http.post("/link/token/create", json=fields | {"products": ["transactions"]}).json()
    own_simulator.control("clock", seconds=1801)
    exchange = own_simulator.http.post("/item/public_token/exchange", json={"public_token": public}).json()
    assert "expired" in exchange["error_message"]
    assert own_simulator.http.post("/control/link", json={"link_token": update}).status_code == 404
    assert own_simulator.control("link", link_token=new["link_token"])["public_token"].startswith("public-sandbox-")


def test_update_mode_repairs_an_item_and_keeps_its_token(simulator, item):
    simulator.ask("/sandbox/item/reset_login", item)
    assert simulator.code(item) == "ITEM_LOGIN_REQUIRED"
    fields = {"client_name": "M", "language": "en", "country_codes": ["US"], "user": {"client_user_id": "u"}}
    token = simulator.ask("/link/token/create", item, **fields).json()["link_token"]
    assert simulator.control("link", link_token=token) == {"item_id": item["item_id"], "public_token": None}
    assert simulator.code(item) is None


def test_items_fail_are_repaired_and_revoked(simulator, item, receiver):
    simulator.ask("/item/webhook/update", item, webhook=receiver.url)
    assert b"WEBHOOK_UPDATE_ACKNOWLEDGED" in receiver.next()[1]
    for call, webhook, code in (
        ("items/fail", b'"webhook_code": "ERROR"', "ITEM_LOCKED"),
        ("items/repair", b"LOGIN_REPAIRED", None),
        ("items/revoke", b"USER_PERMISSION_REVOKED", "ITEM_NOT_FOUND"),
    ):
        fields = {"error_code": code} if call == "items/fail" else {}
        assert simulator.control(call, item_id=item["item_id"], **fields)["announced"]
        assert webhook in receiver.next()[1]
        assert simulator.code(item) == code
    [shown] = simulator.control("items/list", item_ids=[item["item_id"]])["items"]
    assert (shown["removed"], shown["transactions"]) == (True, 25)


@pytest.mark.parametrize(
    ("call", "fields", "named"),
    [
        ("items", {"count": -1}, ">= 0"),
        ("items", {"institution_id": "ins_1"}, "accepted: ins_109508"),
        ("items/fail", {"item_id": "x", "error_code": "OOPS"}, "ITEM_LOGIN_REQUIRED"),
        ("ledger", {"item_id": "x"}, "no Item has the item_id 'x'"),
        ("ledger", {}, "missing required field `item_id`"),
        ("keys/expire", {"key_id": "k"}, "no key has the key_id 'k'"),
        ("webhooks/send", {"item_id": "x", "webhook_code": "NEWS"}, "accepted: SYNC_UPDATES_AVAILABLE"),
    ],
)
def test_a_wrong_control_call_is_answered_by_one_line(simulator, call, fields, named):
    answer = simulator.http.post(f"/control/{call}", json=fields)
    assert answer.status_code in (400, 404)
    assert named in answer.json()["error"]


def test_a_replaced_token_and_its_cursors_are_treated_as_decided(own_simulator):
    item = own_simulator.link(transactions=3)
    cursor = own_simulator.sync(item).json()["next_cursor"]
    for survive, replaced, code in ((True, "INVALID_ACCESS_TOKEN", None), (False, "ITEM_NOT_FOUND", "INVALID_FIELD")):
        own_simulator.control("policy", replaced_token_is_unknown=survive, cursors_survive=survive)
        new = own_simulator.ask("/item/access_token/invalidate", item).json()["new_access_token"]
        assert own_simulator.code(item) == replaced
        item["access_token"] = new
        assert own_simulator.code(item, cursor) == code


def test_health_and_the_list_of_paths(simulator):
    assert "/control/faults" in simulator.http.get("/").json()["post"]["control"]
    assert simulator.http.get("/control/items").status_code == 404
    assert simulator.http.get("/health").json()["status"] == "healthy"
