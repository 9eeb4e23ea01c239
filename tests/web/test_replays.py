"""`/api/v1/replays` as a caller sees it, on the application with its own database and queue."""

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import UserMustActError
from core.identity import new_id
from core.sync.replay import advance
from tests.replay.conftest import Fleet
from tests.web.test_api import resources_of

BY_CODE = {"error_code": "INVALID_FIELD"}
LOGIN = UserMustActError("ITEM_LOGIN_REQUIRED", error_type="ITEM_ERROR")


@pytest.fixture
async def fleet(client):
    return Fleet(resources_of(client))


async def test_a_replay_is_looked_at_dry_begun_watched_stopped_and_resumed(client, bearer, fleet):
    item_ids = await fleet.add(3)
    await fleet.fail(item_ids)
    headers = bearer("syncs:read", "syncs:replay")

    dry = await client.post("/api/v1/replays", json=BY_CODE | {"dry_run": True}, headers=headers)
    assert (dry.status_code, dry.json()) == (
        200,
        {"dry_run": True, "items": 3, "rows": [{"status": "active", "error_code": "INVALID_FIELD", "items": 3}]},
    )
    assert await fleet.all("SELECT count(*) FROM replays") == [(0,)]

    begun = await client.post("/api/v1/replays", json=BY_CODE | {"rate": 1}, headers=headers)
    assert begun.status_code == 201
    path = begun.headers["location"]
    assert await advance(fleet.resources) == 1
    await fleet.succeed(item_ids[:1])
    await advance(fleet.resources)
    seen = (await client.get(path, headers=headers)).json()
    assert (seen["status"], seen["items"], seen["succeeded"], seen["waiting"]) == ("running", 3, 1, 2)
    assert (seen["selection"], seen["rate_per_minute"], seen["asked_by"]) == (BY_CODE, 1, "token:ops")

    assert (await client.post(f"{path}/stop", headers=headers)).json()["status"] == "stopped"
    await fleet.pass_time(60)
    assert await advance(fleet.resources) == 0
    assert (await client.post(f"{path}/resume", headers=headers)).json()["status"] == "running"
    audited = await fleet.all(
        "SELECT event_type FROM audit_outbox WHERE actor = 'token:ops' AND resource = :r ORDER BY id",
        r=f"replay:{seen['id']}",
    )
    assert audited == [(f"operator:replay:{done}",) for done in ("requested", "stopped", "resumed")]


async def test_what_failed_again_is_told_by_its_code(client, bearer, fleet):
    item_ids = await fleet.add(1)
    await fleet.fail(item_ids)
    path = (await client.post("/api/v1/replays", json=BY_CODE, headers=bearer())).headers["location"]
    await advance(fleet.resources)
    await fleet.fail(item_ids, LOGIN)
    await advance(fleet.resources)
    seen = (await client.get(path, headers=bearer())).json()
    assert (seen["status"], seen["failed_by_code"]) == ("finished", {"ITEM_LOGIN_REQUIRED": 1})


async def test_asked_for_twice_it_is_one_with_a_key_or_without(client, bearer, fleet):
    await fleet.fail(await fleet.add(2))
    keyed = bearer() | {"Idempotency-Key": "k1"}
    answers = [await client.post("/api/v1/replays", json=BY_CODE, headers=keyed) for _ in range(2)]
    answers.append(await client.post("/api/v1/replays", json=BY_CODE, headers=bearer()))
    assert [answer.status_code for answer in answers] == [201, 201, 200]
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", None]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_items_are_chosen_by_id_class_bank_and_time_window(client, bearer, fleet):
    here, there = await fleet.add(2), await fleet.add(1, "ins_2")
    await fleet.fail([*here, *there])
    await fleet.fail(here[:1], LOGIN)
    now = datetime.now(UTC)
    hour_ago, in_an_hour = (now + timedelta(hours=hours) for hours in (-1, 1))

    async def count(**asked):
        asked = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asked.items()}
        answer = await client.post("/api/v1/replays", json=asked | {"dry_run": True}, headers=bearer())
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    assert await count(ids=[str(there[0])]) == 1
    assert await count(error_type="ITEM_ERROR") == 1
    assert await count(error_type="INVALID_INPUT", institution_id="ins_2") == 1
    assert await count(since=hour_ago, until=in_an_hour) == 3
    assert await count(until=hour_ago) == 0
    assert await count(item_status="needs_reauth") == 1


async def test_the_replays_are_paged_and_filtered(client, bearer, fleet):
    item_ids = await fleet.add(3)
    await fleet.fail(item_ids)
    begun = [
        (await client.post("/api/v1/replays", json={"ids": [str(one)]}, headers=bearer())).json()["id"]
        for one in item_ids
    ]
    await client.post(f"/api/v1/replays/{begun[1]}/stop", headers=bearer())
    first = (await client.get("/api/v1/replays?limit=2", headers=bearer())).json()
    second = (await client.get(f"/api/v1/replays?cursor={first['next_cursor']}", headers=bearer())).json()
    assert [one["id"] for one in (*first["data"], *second["data"])] == begun[::-1]
    assert {one["items"] for one in first["data"]} == {1}
    stopped = (await client.get("/api/v1/replays?status=stopped", headers=bearer())).json()["data"]
    assert [one["id"] for one in stopped] == [begun[1]]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({}, 422, "chooses nothing"),
        ({"dry_run": True}, 422, "chooses nothing"),
        (BY_CODE | {"rate": 0}, 422, "greater than or equal to 1"),
        ({"since": "yesterday"}, 422, "since"),
        (BY_CODE, 404, "no failing Item fits (error_code=INVALID_FIELD)"),
    ],
)
async def test_what_is_wrong_is_told(client, bearer, asked, status, said):
    answer = await client.post("/api/v1/replays", json=asked, headers=bearer())
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.text
    assert (await client.post(f"/api/v1/replays/{new_id()}/stop", headers=bearer())).status_code == 404


async def test_a_run_without_recorded_pages_is_a_conflict_that_says_why(client, bearer, fleet):
    await fleet.fail(await fleet.add(1))
    ((run_id,),) = await fleet.all("SELECT id FROM sync_runs")
    asked = {"ids": [str(run_id)], "from_journal": True}
    answer = await client.post("/api/v1/replays", json=asked, headers=bearer())
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:manna-sync:problem:pages-not-replayable")
    assert "PAGE_JOURNAL_DAYS" in answer.json()["detail"]
