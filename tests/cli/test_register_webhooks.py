"""Items that were imported, or linked while PUBLIC_URL was another, announce themselves here after one command."""

import json

import pytest

from tests.simulator.conftest import server, simulator  # noqa: F401 - fixtures of the simulator

HERE, THERE = "https://here.example", "https://there.example"


@pytest.fixture
def at_bank(manna, simulator, monkeypatch, tmp_path):  # noqa: F811 - the fixture of that name
    """Three Items that were imported: linked at the simulator, which sends their webhooks elsewhere."""
    monkeypatch.setenv("PLAID_BASE_URL", simulator.url)
    monkeypatch.setenv("PUBLIC_URL", HERE)
    linked = [simulator.link(transactions=1, webhook="https://old.example/hook") for _ in range(3)]
    path = tmp_path / "linked.ndjson"
    path.write_text(
        "\n".join(
            json.dumps({"user_id": "u", "plaid_item_id": one["item_id"], "access_token": one["access_token"]})
            for one in linked
        )
    )
    assert manna("items", "import", path).code == 0
    return linked


def told(manna, *words):
    said = manna("items", "register-webhooks", *words, "--json")
    assert (said.code, said.err) == (0, "")
    return json.loads(said.out)


def sent_to(simulator, items):  # noqa: F811
    return {simulator.ask("/item/get", item).json()["item"]["webhook"] for item in items}


def test_what_announces_itself_elsewhere_is_registered_once_and_again_after_a_move(
    manna,
    simulator,  # noqa: F811
    at_bank,
    monkeypatch,
):
    here, there = f"{HERE}/webhooks/plaid", f"{THERE}/webhooks/plaid"
    assert told(manna, "--dry-run") == {"items": 3, "webhook_url": here}
    assert sent_to(simulator, at_bank) == {"https://old.example/hook"}
    assert told(manna, "--wait") == {"items": 3, "agreed": 3, "webhook_url": here}
    assert sent_to(simulator, at_bank) == {here}
    assert told(manna, "--wait") == {"items": 0, "agreed": 0, "webhook_url": here}
    monkeypatch.setenv("PUBLIC_URL", THERE)
    assert told(manna, "--dry-run")["items"] == 3
    assert told(manna, "--wait")["agreed"] == 3
    assert sent_to(simulator, at_bank) == {there}


def test_what_is_not_waited_for_is_noted_once_and_left_to_the_worker(manna, simulator, at_bank):  # noqa: F811
    first, *_ = [row["id"] for row in json.loads(manna("items", "list", "--json").out)]
    assert told(manna, first)["items"] == 1
    assert told(manna)["items"] == 3
    assert sent_to(simulator, at_bank) == {"https://old.example/hook"}
    assert told(manna, first, "--wait")["agreed"] == 3


def test_an_item_that_plaid_refuses_stays_to_be_asked_for(manna, simulator, at_bank):  # noqa: F811
    simulator.fault(
        at_bank[0], kind="error", path="/item/webhook/update", error_code="INTERNAL_SERVER_ERROR", times=None
    )
    assert told(manna, "--wait")["agreed"] == 2
    assert told(manna, "--dry-run")["items"] == 1


def test_a_removed_item_is_left_out(manna, registered, monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", HERE)
    first, _ = registered(2)
    manna("items", "remove", first, "--yes")
    assert told(manna, "--dry-run")["items"] == 1


def test_without_an_address_there_is_nothing_to_register(refused):
    assert "PUBLIC_URL is not set" in refused("items", "register-webhooks", code=1)
