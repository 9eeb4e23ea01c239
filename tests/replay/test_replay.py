"""A replay: chosen once, sent at its rate, followed to its end."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.audit.retention import prune
from core.errors import InstitutionIsDownError, NotFoundError, UserMustActError
from core.models import ItemStatus, ReplayStatus
from core.sync.replay import Selection, advance, create_replay, find_replay, list_replays, preview, resume, stop

BY_CODE = Selection(error_code="INVALID_FIELD")
FAST = 100_000


def texts(ids):
    return sorted(str(one) for one in ids)


async def test_failed_items_are_sent_again_and_followed_to_their_end(fleet, resources):
    item_ids = await fleet.add(4)
    await fleet.fail(item_ids)
    found = await create_replay(resources, BY_CODE, "operator:jo", FAST)
    assert (found["is_new"], found["items"], found["waiting"]) == (True, 4, 4)

    await fleet.pass_time(1)
    assert await advance(resources) == 4
    assert texts(await fleet.sent()) == texts(item_ids)

    await fleet.succeed(item_ids[:3])
    await fleet.fail(item_ids[3:], UserMustActError("ITEM_LOGIN_REQUIRED", error_type="ITEM_ERROR"))
    assert await advance(resources) == 0
    found = await find_replay(resources.database, found["id"])
    assert (found["status"], found["succeeded"], found["failed"]) == (ReplayStatus.FINISHED, 3, 1)
    assert found["failed_by_code"] == {"ITEM_LOGIN_REQUIRED": 1}

    audited = await fleet.all(
        "SELECT event_type, actor, context ->> 'count' FROM audit_outbox WHERE resource = :r ORDER BY id",
        r=f"replay:{found['id']}",
    )
    assert audited == [
        ("operator:replay:requested", "operator:jo", "4"),
        ("operator:replay:finished", "manna-sync", "4"),
    ]


async def test_the_first_goes_at_once_and_the_others_at_the_rate(fleet, resources):
    await fleet.fail(await fleet.add(3))
    await create_replay(resources, BY_CODE, "operator:jo", 1)
    assert [await advance(resources), await advance(resources)] == [1, 0]
    await fleet.pass_time(60)
    assert [await advance(resources), await advance(resources)] == [1, 0]


async def test_a_late_tick_makes_up_for_ten_seconds_and_no_more(fleet, resources):
    await fleet.fail(await fleet.add(15))
    await create_replay(resources, BY_CODE, "operator:jo", 60)
    await fleet.pass_time(3600)
    assert await advance(resources) == 10


async def test_asked_twice_it_is_one_replay(fleet, resources):
    item_ids = await fleet.add(3)
    await fleet.fail(item_ids)
    asked = [create_replay(resources, BY_CODE, f"operator:{name}", FAST) for name in ("jo", "al", "li")]
    found = await asyncio.gather(*asked)
    assert len({one["id"] for one in found}) == 1
    assert sorted(one["is_new"] for one in found) == [False, False, True]
    assert await fleet.all("SELECT count(*) FROM audit_outbox WHERE event_type = 'operator:replay:requested'") == [(1,)]


async def test_an_item_is_in_one_open_replay_at_a_time(fleet, resources):
    item_ids = await fleet.add(3)
    await fleet.fail(item_ids[:2])
    await create_replay(resources, BY_CODE, "operator:jo", FAST)
    with pytest.raises(NotFoundError, match="an open replay has it"):
        await create_replay(resources, Selection(institution_id="ins_1"), "operator:al", FAST)
    await fleet.fail(item_ids[2:])
    other = await create_replay(resources, Selection(institution_id="ins_1"), "operator:al", FAST)
    assert other["items"] == 1
    assert [one["items"] for one in await list_replays(resources.database)] == [1, 2]


async def test_a_finished_selection_can_be_asked_for_again(fleet, resources):
    item_ids = await fleet.add(1)
    await fleet.fail(item_ids)
    first = await create_replay(resources, BY_CODE, "operator:jo", FAST)
    await advance(resources)
    await fleet.fail(item_ids)
    await advance(resources)
    second = await create_replay(resources, BY_CODE, "operator:jo", FAST)
    assert second["is_new"]
    assert second["id"] != first["id"]


async def test_stopped_it_sends_nothing_and_resumed_it_goes_on(fleet, resources):
    await fleet.fail(await fleet.add(3))
    replay_id = (await create_replay(resources, BY_CODE, "operator:jo", 1))["id"]
    await advance(resources)
    for _ in range(2):
        assert (await stop(resources.database, replay_id, "operator:al"))["status"] is ReplayStatus.STOPPED
    await fleet.pass_time(60)
    assert await advance(resources) == 0
    assert (await resume(resources, replay_id, "operator:li"))["status"] is ReplayStatus.RUNNING
    assert await advance(resources) == 1
    turned = await fleet.all(
        "SELECT event_type, actor FROM audit_outbox"
        " WHERE event_type IN ('operator:replay:stopped', 'operator:replay:resumed') ORDER BY id"
    )
    assert turned == [("operator:replay:stopped", "operator:al"), ("operator:replay:resumed", "operator:li")]
    with pytest.raises(NotFoundError, match="manna syncs replays"):
        await stop(resources.database, uuid4(), "operator:al")


async def test_what_recovered_by_itself_is_neither_chosen_nor_sent(fleet, resources):
    item_ids = await fleet.add(3)
    await fleet.fail(item_ids)
    await fleet.succeed(item_ids[:1])
    replay_id = (await create_replay(resources, BY_CODE, "operator:jo", FAST))["id"]
    await fleet.succeed(item_ids[1:2])
    await fleet.pass_time(1)
    assert await advance(resources) == 1
    assert await fleet.sent() == [str(item_ids[2])]
    found = await find_replay(resources.database, replay_id)
    assert (found["items"], found["succeeded"], found["sent"]) == (2, 1, 1)


async def test_items_of_a_bank_that_is_down_wait_for_it(fleet, resources):
    down = await fleet.add(3, "ins_down")
    await fleet.fail(down, InstitutionIsDownError("INSTITUTION_DOWN", error_type="INSTITUTION_ERROR"))
    await create_replay(resources, Selection(institution_id="ins_down"), "operator:jo", FAST)
    await fleet.pass_time(1)
    assert await advance(resources) == 0
    await fleet.run("DELETE FROM circuit_breakers")
    assert await advance(resources) == 3


async def test_a_lost_message_is_sent_again_three_times_at_most(fleet, resources):
    item_ids = await fleet.add(1)
    await fleet.fail(item_ids)
    replay_id = (await create_replay(resources, BY_CODE, "operator:jo", FAST))["id"]
    sent = []
    for _ in range(4):
        sent.append(await advance(resources))
        await fleet.run("UPDATE replay_items SET sent_at = sent_at - interval '1 hour'")
        await fleet.run("UPDATE sync_runs SET started_at = started_at - interval '2 hours'")
        await fleet.pass_time(1)
    assert sent == [1, 1, 1, 0]
    found = await find_replay(resources.database, replay_id)
    assert (found["status"], found["failed_by_code"]) == (ReplayStatus.FINISHED, {"NO_RESULT": 1})


async def test_two_ticks_at_once_send_nothing_twice(fleet, resources):
    item_ids = await fleet.add(8)
    await fleet.fail(item_ids)
    await create_replay(resources, BY_CODE, "operator:jo", FAST)
    await fleet.pass_time(1)
    await asyncio.gather(*(advance(resources) for _ in range(5)))
    assert texts(await fleet.sent()) == texts(item_ids)


async def test_items_set_aside_are_found_though_their_runs_are_pruned(fleet, resources):
    item_ids = await fleet.add(2)
    await fleet.fail(item_ids)
    await fleet.run("UPDATE plaid_items SET status = 'error', next_sync_at = NULL WHERE id = :id", id=item_ids[0])
    await fleet.run("DELETE FROM sync_runs")
    set_aside = Selection(item_status=ItemStatus.ERROR)
    assert await preview(resources.database, set_aside) == [
        {"status": ItemStatus.ERROR, "error_code": "INVALID_FIELD", "items": 1}
    ]
    assert (await create_replay(resources, set_aside, "operator:jo", FAST))["items"] == 1
    await advance(resources)
    assert await fleet.sent() == [str(item_ids[0])]
    await fleet.succeed(item_ids[:1])
    assert await fleet.all("SELECT status, consecutive_failures FROM plaid_items WHERE version = 1") == [("active", 0)]


async def test_a_selection_narrows_by_each_of_its_fields(fleet, resources):
    here, there = await fleet.add(2), await fleet.add(1, "ins_2")
    await fleet.fail([*here, *there])
    await fleet.fail(here[:1], UserMustActError("ITEM_LOGIN_REQUIRED", error_type="ITEM_ERROR"))
    (run_id,) = (await fleet.all("SELECT id FROM sync_runs WHERE item_id = :id", id=there[0]))[0]

    async def count(**fields):
        return sum(row["items"] for row in await preview(resources.database, Selection(**fields)))

    assert await count() == 3
    assert await count(institution_id="ins_2") == 1
    assert await count(error_code="ITEM_LOGIN_REQUIRED") == 1
    # It failed so before, and nothing was committed since.
    assert await count(error_code="INVALID_FIELD") == 3
    assert await count(ids=(run_id, here[1])) == 2
    assert await count(item_status=ItemStatus.NEEDS_REAUTH) == 1
    assert await count(since=datetime.now(UTC) - timedelta(hours=1)) == 3
    assert await count(since=datetime.now(UTC) + timedelta(hours=1)) == 0


async def test_an_item_whose_access_is_gone_is_not_replayed(fleet, resources):
    item_ids = await fleet.add(2)
    await fleet.fail(item_ids)
    await fleet.run("UPDATE plaid_items SET status = 'removed' WHERE id = :id", id=item_ids[0])
    replay_id = (await create_replay(resources, BY_CODE, "operator:jo", 1))["id"]
    await fleet.run("UPDATE plaid_items SET status = 'revoked'")
    assert await advance(resources) == 0
    found = await find_replay(resources.database, replay_id)
    assert (found["status"], found["failed_by_code"]) == (ReplayStatus.FINISHED, {"ITEM_IS_GONE": 1})


async def test_finished_replays_go_with_the_run_history(fleet, resources):
    item_ids = await fleet.add(2)
    await fleet.fail(item_ids)
    await create_replay(resources, Selection(ids=(item_ids[0],)), "operator:jo", FAST)
    await fleet.succeed(item_ids[:1])
    await advance(resources)
    kept = await create_replay(resources, Selection(ids=(item_ids[1],)), "operator:jo", FAST)
    await fleet.run("UPDATE replays SET created_at = now() - interval '1 year'")
    await fleet.run("UPDATE replays SET finished_at = now() - interval '1 year' WHERE finished_at IS NOT NULL")
    assert (await prune(resources.settings, resources.database)).replays == 1
    assert [one["id"] for one in await list_replays(resources.database)] == [kept["id"]]
    assert await fleet.all("SELECT item_id FROM replay_items") == [(item_ids[1],)]
