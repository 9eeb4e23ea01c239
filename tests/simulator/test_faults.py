"""Faults strike exactly the requests they are set for, and no others."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as pool:
        yield pool


def fault(simulator, item, kind, **fields):
    return simulator.control("faults", kind=kind, item_id=item["item_id"], **fields)["fault_id"]


def test_a_held_request_waits_to_be_released(simulator, item, pool):
    fault_id = fault(simulator, item, "hold", page="middle")
    cursor = simulator.sync(item, count=10).json()["next_cursor"]
    page = pool.submit(simulator.sync, item, cursor, count=10)
    held = simulator.control("held", fault_id=fault_id)["held"]
    assert [(one["path"], one["cursor"]) for one in held] == [("/transactions/sync", cursor)]
    assert not page.done()
    assert len(simulator.control("release", fault_id=fault_id)["released"]) == 1
    assert len(page.result().json()["added"]) == 10


def test_a_held_request_can_be_cut(simulator, item, pool):
    fault_id = fault(simulator, item, "hold")
    page = pool.submit(simulator.sync, item)
    simulator.control("held", fault_id=fault_id)
    simulator.control("release", fault_id=fault_id, how="cut")
    with pytest.raises(httpx.RemoteProtocolError):
        page.result()


def test_nobody_is_held_once_its_client_is_gone(simulator, item):
    fault_id = fault(simulator, item, "hold", times=None)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{simulator.url}/transactions/sync", json=item, timeout=0.1)
    assert simulator.control("held", fault_id=fault_id, count=0)["held"] == []


def test_a_wait_for_held_requests_in_vain_says_so(simulator, item):
    answer = simulator.http.post("/control/held", json={"item_id": item["item_id"], "timeout": 0})
    assert answer.status_code == 504
    assert answer.json()["error"] == "0 requests were held after 0 s, waited for 1"


def test_a_cut_response_loses_the_answer_but_not_the_effect(simulator, item):
    fault(simulator, item, "cut", phase="response", path="/item/access_token/invalidate")
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.http.post("/item/access_token/invalidate", json={"access_token": item["access_token"]})
    assert simulator.code(item) == "ITEM_NOT_FOUND"


def test_a_connection_is_cut_in_the_middle_of_a_body(simulator, item):
    fault(simulator, item, "cut", bytes=100)
    with pytest.raises(httpx.RemoteProtocolError, match="received 100 bytes"):
        simulator.sync(item)
    assert simulator.sync(item).status_code == 200


def test_an_error_takes_type_and_status_from_its_code_and_lasts_as_long_as_told(simulator, item):
    fault(simulator, item, "error", error_code="TRANSACTIONS_SYNC_LIMIT", retry_after=7, after=1, times=2)
    answers = [simulator.sync(item) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert answers[1].json()["error_type"] == "RATE_LIMIT_EXCEEDED"


def test_a_fault_until_cleared_strikes_a_whole_institution_and_nobody_else(simulator, item):
    elsewhere = simulator.link(transactions=1)
    while elsewhere["institution_id"] == item["institution_id"]:
        elsewhere = simulator.link(transactions=1)
    set_ = {"kind": "error", "error_code": "INSTITUTION_DOWN", "times": None}
    fault_id = simulator.control("faults", institution_id=item["institution_id"], **set_)["fault_id"]
    assert [simulator.code(item), simulator.code(item), simulator.code(elsewhere)] == [set_["error_code"]] * 2 + [None]
    assert simulator.control("faults/clear", fault_ids=[fault_id])["faults"][0]["struck"] == 2
    assert simulator.code(item) is None


def test_a_mutation_spoils_the_loop_but_not_its_start(simulator, item):
    fault(simulator, item, "mutation")
    cursor = simulator.sync(item, count=10).json()["next_cursor"]
    assert [simulator.code(item, cursor), simulator.code(item, cursor)] == [MUTATION, MUTATION]
    assert len(simulator.sync(item, count=500).json()["added"]) == 25


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
