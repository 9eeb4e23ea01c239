"""A replay that applies recorded pages: chosen, paced, sent and followed like every other, and Plaid is not asked."""

import json

import pytest

from core.errors import InstitutionIsDownError, NotFoundError, PagesNotReplayableError
from core.models import ReplayStatus
from core.sync.replay import Selection, advance, create_replay, find_replay, preview
from tasks.replay_pages import replay_many
from tests.integration.plaid_script import page, transaction
from tests.journal.test_journal import TWO_PAGES
from tests.replay.test_commands import manna

RECORDED = Selection(error_type="UNEXPECTED", from_journal=True)
FAST = 100_000


async def replayed(fleet, replay_id):
    """Move a replay on to its end: a worker takes what is sent."""
    while (await find_replay(fleet.resources.database, replay_id))["status"] is ReplayStatus.RUNNING:
        await fleet.pass_time(1)
        await advance(fleet.resources)
        await replay_many(fleet.resources, await fleet.sent_runs())
    return await find_replay(fleet.resources.database, replay_id)


async def test_failed_items_are_replayed_from_their_pages(fleet):
    item_ids = await fleet.add(3)
    for item_id in item_ids[:2]:
        await fleet.lose_commit(item_id, *TWO_PAGES)
    await fleet.fail(item_ids[2:])
    assert [row["items"] for row in await preview(fleet.resources.database, RECORDED)] == [2]
    begun = await create_replay(fleet.resources, RECORDED, "operator:jo", FAST)
    assert (begun["items"], begun["selection"]) == (2, {"error_type": "UNEXPECTED", "from_journal": True})
    found = await replayed(fleet, begun["id"])
    assert (found["succeeded"], found["failed"]) == (2, 0)
    assert await fleet.all("SELECT version, cursor FROM plaid_items WHERE cursor IS NOT NULL") == [(1, "f1")] * 2


async def test_of_several_failed_runs_the_newest_pages_are_taken(fleet):
    (item_id,) = await fleet.add(1)
    await fleet.lose_commit(item_id, page([transaction("a")], next_cursor="f1"))
    await fleet.lose_commit(item_id, page([transaction("a"), transaction("b")], next_cursor="f2"))
    begun = await create_replay(fleet.resources, Selection(ids=(item_id,), from_journal=True), "operator:jo", FAST)
    await replayed(fleet, begun["id"])
    assert (await fleet.standing(), await fleet.all("SELECT cursor FROM plaid_items")) == (["a", "b"], [("f2",)])


async def test_while_the_bank_is_down_its_recorded_pages_are_applied(fleet):
    item_ids = await fleet.add(4)
    await fleet.lose_commit(item_ids[0], *TWO_PAGES)
    await fleet.fail(item_ids[1:], InstitutionIsDownError("INSTITUTION_DOWN", error_type="INSTITUTION_ERROR"))
    begun = await create_replay(fleet.resources, RECORDED, "operator:jo", FAST)
    assert (await replayed(fleet, begun["id"]))["succeeded"] == 1


async def test_pages_that_got_old_while_they_waited_end_as_failed(fleet):
    (item_id,) = await fleet.add(1)
    await fleet.lose_commit(item_id, *TWO_PAGES)
    begun = await create_replay(fleet.resources, RECORDED, "operator:jo", FAST)
    await fleet.run("UPDATE plaid_items SET version = version + 1")
    found = await replayed(fleet, begun["id"])
    assert (found["failed_by_code"], await fleet.standing()) == ({"PAGES_NOT_REPLAYABLE": 1}, [])


async def test_a_message_delivered_twice_fails_nothing(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    begun = await create_replay(fleet.resources, RECORDED, "operator:jo", FAST)
    await advance(fleet.resources)
    await replay_many(fleet.resources, [run_id, run_id])
    await replay_many(fleet.resources, [run_id])
    await advance(fleet.resources)
    assert (await find_replay(fleet.resources.database, begun["id"]))["succeeded"] == 1


async def test_a_run_without_pages_is_told_why(fleet):
    item_ids = await fleet.add(1)
    await fleet.fail(item_ids)
    ((run_id,),) = await fleet.all("SELECT id FROM sync_runs")
    with pytest.raises(PagesNotReplayableError, match=f"no pages of the run {run_id} are kept"):
        await create_replay(fleet.resources, Selection(ids=(run_id,), from_journal=True), "operator:jo", FAST)
    with pytest.raises(NotFoundError, match="from_journal=True"):
        await create_replay(fleet.resources, Selection(ids=(item_ids[0],), from_journal=True), "operator:jo", FAST)
    refused = manna("replay", str(run_id), "--from-journal")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "replay it without the journal, and Plaid is asked" in refused.stderr


async def test_an_operator_replays_a_run_from_its_pages(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    assert "1 Items would be replayed" in manna("replay", str(run_id), "--from-journal", "--dry-run").stdout
    begun = json.loads(manna("replay", str(run_id), "--from-journal", "--json").stdout)
    assert (await replayed(fleet, begun["id"]))["succeeded"] == 1
