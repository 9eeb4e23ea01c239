"""Faults strike exactly the requests they are set for, and no others."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
ARRAYS = ("added", "modified", "removed")


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as pool:
        yield pool


def cursor_of(simulator, item, **fields):
    return simulator.sync(item, **fields).json()["next_cursor"]


def test_a_held_request_waits_to_be_released(simulator, item, pool):
    fault_id = simulator.fault(item, "hold", page="middle")
    cursor = cursor_of(simulator, item, count=10)
    page = pool.submit(simulator.sync, item, cursor, count=10)
    held = simulator.control("held", fault_id=fault_id)["held"]
    assert [(one["path"], one["cursor"]) for one in held] == [("/transactions/sync", cursor)]
    assert not page.done()
    assert len(simulator.control("release", fault_id=fault_id)["released"]) == 1
    assert len(page.result().json()["added"]) == 10


def test_a_held_request_can_be_cut(simulator, item, pool):
    fault_id = simulator.fault(item, "hold")
    page = pool.submit(simulator.sync, item)
    simulator.control("held", fault_id=fault_id)
    simulator.control("release", fault_id=fault_id, how="cut")
    with pytest.raises(httpx.RemoteProtocolError):
        page.result()


def test_nobody_is_held_once_its_client_is_gone(simulator, item):
    fault_id = simulator.fault(item, "hold", times=None)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{simulator.url}/transactions/sync", json=item, timeout=0.1)
    assert simulator.control("held", fault_id=fault_id, count=0)["held"] == []


def test_a_wait_for_held_requests_in_vain_says_so(simulator, item):
    answer = simulator.http.post("/control/held", json={"item_id": item["item_id"], "timeout": 0})
    assert answer.status_code == 504
    assert answer.json()["error"] == "0 requests were held after 0 s, waited for 1"


def test_a_lost_response_leaves_its_effect(simulator, item):
    simulator.fault(item, "cut", phase="response", path="/item/access_token/invalidate")
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.ask("/item/access_token/invalidate", item)
    assert simulator.code(item) == "ITEM_NOT_FOUND"


def test_a_connection_is_cut_in_the_middle_of_a_body(simulator, item):
    simulator.fault(item, "cut", bytes=100)
    with pytest.raises(httpx.RemoteProtocolError, match="received 100 bytes"):
        simulator.sync(item)
    assert simulator.sync(item).status_code == 200


def test_an_error_takes_type_and_status_from_its_code_and_lasts_as_long_as_told(simulator, item):
    simulator.fault(item, "error", error_code="TRANSACTIONS_SYNC_LIMIT", retry_after=7, after=1, times=2)
    answers = [simulator.sync(item) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert answers[1].json()["error_type"] == "RATE_LIMIT_EXCEEDED"


def test_a_fault_until_cleared_strikes_a_whole_bank_and_no_other(simulator):
    item, neighbour = (simulator.link(institution_id="ins_109511") for _ in range(2))
    elsewhere = simulator.link(institution_id="ins_109512")
    down = {"kind": "error", "error_code": "INSTITUTION_DOWN", "times": None, "institution_id": "ins_109511"}
    fault_id = simulator.control("faults", **down)["fault_id"]
    assert [simulator.code(one) for one in (item, neighbour, elsewhere)] == ["INSTITUTION_DOWN"] * 2 + [None]
    assert simulator.control("faults/clear", fault_ids=[fault_id])["faults"][0]["struck"] == 2
    assert simulator.code(item) is None


def test_a_mutation_spoils_the_loop_but_not_its_start(simulator, item):
    simulator.fault(item, "mutation")
    cursor = cursor_of(simulator, item, count=10)
    assert [simulator.code(item, cursor), simulator.code(item, cursor)] == [MUTATION, MUTATION]
    assert len(simulator.sync(item, count=500).json()["added"]) == 25


def test_a_real_mutation_comes_from_a_ledger_that_changes_in_the_middle(simulator, item):
    simulator.fault(item, "evolve", page="middle", added=2)
    assert simulator.code(item, cursor_of(simulator, item, count=10)) == MUTATION
    assert len(simulator.sync(item, count=500).json()["added"]) == 27


@pytest.mark.parametrize(
    ("kind", "code"),
    [("sticky_mutation", MUTATION), ("foreign_cursor", "INVALID_FIELD"), ("cursor_outdated", "INVALID_FIELD")],
)
def test_a_stored_cursor_is_refused_until_the_item_is_asked_with_none(simulator, item, kind, code):
    cursor = cursor_of(simulator, item, count=500)
    simulator.fault(item, kind)
    assert [simulator.code(item, cursor), simulator.code(item, cursor), simulator.code(item, "now")] == [code] * 3
    fresh = simulator.sync(item, count=500).json()
    assert len(fresh["added"]) == 25
    assert simulator.code(item, fresh["next_cursor"]) is None
    assert simulator.code(item, cursor) == "INVALID_FIELD"


@pytest.mark.parametrize("value", [None, ""])
def test_a_cursor_is_blanked_and_the_page_stays(simulator, item, value):
    simulator.fault(item, "null_cursor", value=value)
    page = simulator.sync(item).json()
    assert (page["next_cursor"], len(page["added"])) == (value, 25)


def test_an_empty_page_puts_off_what_comes_next(simulator, item):
    simulator.fault(item, "empty_page", after=1, times=2)
    pages = simulator.loop(item, count=20)
    assert [len(page["added"]) for page in pages] == [20, 0, 0, 5]
    assert len({page["next_cursor"] for page in pages}) == 4


def test_an_empty_page_may_be_the_first(simulator, item):
    simulator.fault(item, "empty_page")
    assert [len(page["added"]) for page in simulator.loop(item)] == [0, 25]


@pytest.mark.parametrize("empty", [True, False])
def test_a_stuck_loop_gives_the_cursor_it_was_asked_with(simulator, item, empty):
    cursor = cursor_of(simulator, item, count=10)
    simulator.fault(item, "stuck", empty=empty, times=None)
    for _ in range(2):
        page = simulator.sync(item, cursor, count=10).json()
        assert (page["has_more"], page["next_cursor"]) == (True, cursor)
        assert len(page["added"]) == (0 if empty else 10)


def test_removals_are_split_off_in_one_loop(simulator, item):
    cursor = cursor_of(simulator, item, count=500)
    simulator.evolve(item, added=2, removed=2)
    simulator.fault(item, "split", order="removed_first")
    pages = simulator.loop(item, cursor)
    assert [[len(page[name]) for name in ARRAYS] for page in pages] == [[0, 0, 2], [2, 0, 0]]


def test_gateways_and_broken_bodies(simulator, item):
    simulator.fault(item, "html")
    answer = simulator.sync(item)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    simulator.fault(item, "body", status=503, headers={"Retry-After": "5"})
    answer = simulator.sync(item)
    assert (answer.status_code, answer.content, answer.headers["Retry-After"]) == (503, b"", "5")
    simulator.fault(item, "truncate", bytes=200)
    assert len(simulator.sync(item).content) == 200
    simulator.fault(item, "patch", set={"added": "none"}, remove=["has_more"])
    page = simulator.sync(item).json()
    assert (page["added"], "has_more" in page) == ("none", False)
    simulator.fault(item, "delay", ms=1, phase="response")
    assert len(simulator.sync(item).json()["added"]) == 25


def test_one_transaction_is_malformed_on_whichever_page_it_is(simulator, item):
    chosen = simulator.sync(item).json()["added"][17]["transaction_id"]
    wrong = {"set": {"date": "yesterday"}, "set_raw": {"amount": "NaN"}, "remove": ["name"]}
    simulator.fault(item, "malformed_transaction", transaction_id=chosen, times=None, **wrong)
    texts, cursor = [], ""
    for _ in range(3):
        texts.append(simulator.sync(item, cursor, count=10).text)
        cursor = texts[-1].split('"next_cursor":"')[1].split('"')[0]
    assert [text.count("NaN") for text in texts] == [0, 1, 0]
    assert texts[1].count("yesterday") == 1
    assert simulator.truth(item)[chosen]["name"]


def test_unknown_fields_and_values_are_added_to_what_is_known(simulator, item):
    simulator.fault(item, "unknown_values")
    page, usual = simulator.sync(item).json(), simulator.sync(item).json()
    assert page.keys() - usual.keys() == page["added"][0].keys() - usual["added"][0].keys() == {"field_of_tomorrow"}
    assert page["accounts"][0]["type"] == "type_of_tomorrow"


def test_an_item_is_removed_between_two_pages(simulator, item):
    simulator.fault(item, "remove_item", page="middle")
    assert simulator.code(item, cursor_of(simulator, item, count=10)) == "ITEM_NOT_FOUND"


def test_accounts_churn_between_two_loops(simulator, item):
    cursor = cursor_of(simulator, item, count=500)
    simulator.fault(item, "churn")
    page = simulator.sync(item, cursor, count=500).json()
    assert (len(page["added"]), len(page["removed"])) == (25, 25)


def test_the_fault_set_first_is_outermost(simulator, item):
    for code in ("INTERNAL_SERVER_ERROR", "INSTITUTION_DOWN"):
        simulator.fault(item, "error", error_code=code)
    assert [simulator.code(item), simulator.code(item)] == ["INTERNAL_SERVER_ERROR", None]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "flood"}, "Invalid value 'flood'"),
        ({"kind": "hold", "time": 3}, "unknown field `time`"),
        ({"kind": "hold", "times": 0}, ">= 1"),
        ({"kind": "error"}, "missing required field `error_code`"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_is_wrong(simulator, fields, named):
    answer = simulator.http.post("/control/faults", json=fields)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
