"""What an operator reads: the fleet, an Item, its runs, the audit log."""

import re
from datetime import UTC, datetime

import pytest

from core.audit.sink import seal_outbox
from core.identity import first_id_at, new_id
from core.items.overview import FRESHNESS_BOUNDS, read_overview
from core.items.registration import NewItem
from core.models import ItemStatus
from tests.console.conftest import new_item, register, resources_of, rows, text_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


async def fail(client, item_id, code="INSTITUTION_DOWN", kind="INSTITUTION_ERROR", status="active"):
    await rows(
        client,
        "UPDATE plaid_items SET status = :status, error_type = :kind, error_code = :code WHERE id = :id",
        id=item_id,
        code=code,
        kind=kind,
        status=status,
    )
    return await run(client, item_id, status="failed", code=code, kind=kind)


async def run(client, item_id, *, status="succeeded", code=None, kind=None, ago="1 minute"):
    run_id = new_id()
    await rows(
        client,
        "INSERT INTO sync_runs (id, item_id, trigger, status, started_at, finished_at, error_type, error_code)"
        " VALUES (:id, :item_id, 'scheduled', :status, now() - CAST(:ago AS text)::interval, now(), :kind, :code)",
        id=run_id,
        item_id=item_id,
        status=status,
        code=code,
        kind=kind,
        ago=ago,
    )
    return run_id


async def test_the_overview_counts_the_fleet(operator):
    ids = await register(operator, *(new_item(number, f"ins_{number % 2}") for number in range(8)))
    ages = [60, 1000, 5 * 3600, 13 * 3600, 25 * 3600, 80 * 3600]
    for item_id, age in zip(ids, ages, strict=False):
        await rows(
            operator,
            "UPDATE plaid_items SET last_synced_at = now() - make_interval(secs => :age), next_sync_at = NULL"
            " WHERE id = :id",
            id=item_id,
            age=age,
        )
    await fail(operator, ids[0])
    await fail(operator, ids[2])
    await fail(operator, ids[1], "ITEM_LOGIN_REQUIRED", "ITEM_ERROR", "needs_reauth")
    await rows(operator, "UPDATE plaid_items SET status = 'removed' WHERE id = :id", id=ids[7])
    found = await read_overview(resources_of(operator).database)
    assert len(found.freshness) == len(FRESHNESS_BOUNDS) + 2
    assert found.freshness == (1, 1, 0, 1, 1, 1, 1, 1)
    assert found.statuses[ItemStatus.ACTIVE] == 6
    assert (found.due, found.in_service) == (2, 7)
    assert found.minutes[-2].failed == 3
    assert [(row["institution_id"], row["error_code"], row["items"]) for row in found.failing] == [
        ("ins_0", "INSTITUTION_DOWN", 2),
        ("ins_1", "ITEM_LOGIN_REQUIRED", 1),
    ]
    page = await operator.get("/console")
    assert "/console/items?institution_id=ins_0&amp;error_code=INSTITUTION_DOWN" in page.text
    assert page.text.count('role="img"') == 2


async def test_the_overview_shows_what_is_held_back_and_what_lags(operator):
    ids = await register(operator, *(new_item(number, "ins_7") for number in range(3)))
    await rows(operator, "UPDATE plaid_items SET parked_at = now() WHERE id <> :id", id=ids[0])
    await rows(
        operator,
        "INSERT INTO circuit_breakers (scope, state, failures, error_type, error_code, opened_at, updated_at)"
        " VALUES ('institution:ins_7', 'open', 3, 'INSTITUTION_ERROR', 'INSTITUTION_DOWN', now(), now())",
    )
    said = text_of(await operator.get("/console"))
    assert re.search(r"ins_7 open INSTITUTION_DOWN 2 ", said)
    # Three registrations and a log-in wait for the consumer.
    assert "4 waiting" in said
    assert "workers missing 0 alive" in said


def test_the_lowest_id_of_a_moment_is_below_all_that_are_made_then():
    made = new_id()
    at = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    assert first_id_at(at) <= made


async def test_items_are_found_by_how_their_ids_begin_and_filtered(operator):
    ids = await register(operator, new_item(1, "ins_1"), new_item(2, "ins_2"), new_item(3, "ins_2", user="50%_off"))
    await fail(operator, ids[1])

    async def found(**asked):
        page = await operator.get("/console/items", params=asked)
        assert page.status_code == 200
        return set(re.findall(r">(itm\d)<", page.text))

    assert await found() == {"itm1", "itm2", "itm3"}
    assert await found(text="", status="", institution_id="", error_code="") == {"itm1", "itm2", "itm3"}
    assert await found(text="itm2") == {"itm2"}
    assert await found(text=str(ids[0])) == {"itm1"}
    assert await found(text="50%_") == {"itm3"}
    assert await found(text="%") == set()
    assert await found(institution_id="ins_2", error_code="INSTITUTION_DOWN") == {"itm2"}
    assert await found(status="needs_reauth") == set()


async def test_a_listing_is_walked_through_without_gap_or_repeat(operator):
    await register(operator, *(new_item(number) for number in range(120)))
    seen, address = [], "/console/items?institution_id=ins_1"
    while address:
        page = await operator.get(address)
        seen += re.findall(r">itm(\d+)<", page.text)
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        address = following[1].replace("&amp;", "&") if following else None
    assert seen == [str(number) for number in reversed(range(120))]


async def test_an_item_says_what_is_wrong_and_what_to_do(operator):
    (item_id,) = await register(operator, new_item(1))
    await fail(operator, item_id, "ITEM_LOGIN_REQUIRED", "ITEM_ERROR", "needs_reauth")
    await rows(operator, "UPDATE plaid_items SET next_sync_at = NULL")
    await rows(
        operator,
        "INSERT INTO accounts (item_id, account_id, name, mask, type, balance_current)"
        " VALUES (:id, 'acc', 'Plaid Checking', '0000', 'depository', 98765.43)",
        id=item_id,
    )
    page = await operator.get(f"/console/items/{item_id}")
    said = text_of(page)
    assert "Send the user through Link's update mode" in said
    assert "Plaid Checking 0000 depository" in said
    # Whoever mends a sync need not know how rich somebody is.
    assert "98765" not in page.text
    assert "access-sandbox" not in page.text


async def test_a_failed_run_explains_itself(operator):
    (item_id,) = await register(operator, new_item(1))
    run_id = await fail(operator, item_id)
    listed = await operator.get("/console/runs")
    assert f"/console/runs/{run_id}" in listed.text
    said = text_of(await operator.get(f"/console/runs/{run_id}"))
    assert "The bank is not reachable through Plaid." in said
    assert "failed" in said
    await run(operator, item_id)
    assert text_of(await operator.get("/console/runs")).count("INSTITUTION_DOWN") == 1
    assert "succeeded" in text_of(await operator.get("/console/runs?status=any&since=1h&trigger=scheduled"))
    assert "No run fits" in text_of(await operator.get("/console/runs?error_code=NO_SUCH"))


@pytest.mark.parametrize("path", ["/console", "/console/items", "/console/items/{id}", "/console/runs"])
async def test_hostile_names_stay_text(operator, path):
    (item_id,) = await register(operator, NewItem(HOSTILE, f"itm{HOSTILE}", "access-sandbox-1", HOSTILE))
    await fail(operator, item_id, HOSTILE, HOSTILE)
    await rows(
        operator,
        "INSERT INTO accounts (item_id, account_id, name, mask, type) VALUES (:id, :it, :it, :it, :it)",
        id=item_id,
        it=HOSTILE,
    )
    page = await operator.get(path.format(id=item_id), params={"error_code": HOSTILE, "done": HOSTILE})
    assert page.status_code == 200
    assert "alert(1)" in page.text
    assert "<script>" not in page.text
    assert "<img src=x" not in page.text
    assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(\S+)", page.text)


async def test_an_unknown_page_shows_its_path_as_text(operator):
    page = await operator.get(f"/console/{HOSTILE}")
    assert page.status_code == 404
    assert "<script>" not in page.text


async def test_the_audit_log_is_read_and_that_it_was_is_in_it(operator):
    database = resources_of(operator).database
    await register(operator, new_item(1), new_item(2))
    await seal_outbox(database)
    said = text_of(await operator.get("/console/audit?event_type=operator:item:registered&actor=operator:test"))
    assert said.count("operator:test") == 2
    await seal_outbox(database)
    assert "operator:audit:read" in text_of(await operator.get("/console/audit?actor=token:ops"))
    assert "No sealed event fits" in text_of(await operator.get("/console/audit?actor=nobody"))


async def test_an_address_that_leads_nowhere_keeps_the_ways_on(operator):
    page = await operator.get("/console/nothing")
    assert page.status_code == 404
    assert 'href="/console/items"' in page.text


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/console/runs?since=99y", "since (accepted are 1h, 24h, 7d, 30d)"),
        ("/console/items?status=lost", "needs_reauth"),
        ("/console/items/xyz", "valid UUID"),
    ],
)
async def test_an_address_that_does_not_fit_says_what_is_accepted(operator, path, told):
    page = await operator.get(path)
    assert page.status_code == 422
    assert told in page.text
