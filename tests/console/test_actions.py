"""What an operator does: each through the queue, each recorded with who did it."""

import json

import pytest

from core.audit.proof import prove_chain
from core.audit.sink import seal_outbox
from core.items.reconciliation import reconcile_and_record
from core.sync.replay import advance
from tests.console.conftest import new_item, register, resources_of, rows, text_of
from tests.console.test_pages import fail


async def waiting(client, queue):
    """Return the wire names and arguments of the messages on a queue."""
    sent = [json.loads(one) for one in await resources_of(client).redis.lrange(queue, 0, -1)]
    return [one["headers"]["task"] for one in sent]


async def recorded(client, event_type):
    return await rows(
        client, "SELECT actor, resource, context FROM audit_outbox WHERE event_type = :kind", kind=event_type
    )


@pytest.fixture
async def item_id(operator):
    (registered,) = await register(operator, new_item(1))
    return registered


async def test_a_sync_is_sent_for_and_recorded(operator, press, item_id):
    answer = await press(f"/console/items/{item_id}", f"/console/items/{item_id}/sync")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/items/{item_id}?done=sync")
    assert await waiting(operator, "sync.webhook") == ["sync.item"]
    (event,) = await recorded(operator, "operator:sync:requested")
    assert (event["actor"], event["resource"]) == ("token:ops", f"item:{item_id}")
    assert "The sync is on its way" in text_of(await operator.get(answer.headers["location"]))


async def test_a_comparison_is_sent_for_and_its_finding_is_shown(operator, press, item_id):
    answer = await press(f"/console/items/{item_id}", f"/console/items/{item_id}/reconcile", repair="yes")
    assert answer.status_code == 303
    assert await waiting(operator, "maintenance") == ["items.reconcile"]
    (event,) = await recorded(operator, "operator:reconcile:requested")
    assert (event["actor"], event["context"]) == ("token:ops", {"reason": "repair"})


async def test_a_comparison_that_meets_a_sync_says_so(operator, item_id):
    resources = resources_of(operator)
    async with resources.lease(item_id):
        await reconcile_and_record(resources, item_id, "token:ops", repair=False)
    (event,) = await recorded(operator, "operator:item:reconciled")
    assert event["context"] == {"reason": "being_synced"}
    await seal_outbox(resources.database)
    assert "not done, it was being synced" in text_of(await operator.get(f"/console/items/{item_id}"))


async def test_a_removal_wants_to_be_meant(operator, press, item_id):
    page = f"/console/items/{item_id}"
    assert (await press(page, f"{page}/remove")).status_code == 422
    assert (await press(page, f"{page}/remove", sure="yes")).status_code == 303
    assert await rows(operator, "SELECT requested_by FROM item_removals") == [{"requested_by": "token:ops"}]
    shown = await operator.get(page)
    assert "Sync now" not in shown.text
    assert "removed" in text_of(shown)
    # Another browser's page still has the button.
    for action in ("sync", "reconcile"):
        assert (await press("/console", f"{page}/{action}")).status_code == 409


async def test_a_replay_is_looked_at_begun_watched_stopped_and_resumed(operator, press):
    ids = await register(operator, *(new_item(number, "ins_9") for number in range(3)))
    for item_id in ids:
        await fail(operator, item_id, "PRODUCT_NOT_READY", "ITEM_ERROR")
    asked = "/console/replays/new?error_code=PRODUCT_NOT_READY&institution_id=ins_9&since=24h&rate=600"
    dry = await operator.get(asked)
    assert "3 Items would be synced again" in text_of(dry)
    assert await rows(operator, "SELECT id FROM replays") == []
    fields = dict(part.split("=") for part in asked.partition("?")[2].split("&") if not part.startswith("since"))
    begun = await press(asked, "/console/replays", **fields)
    page, _, _ = begun.headers["location"].partition("?")
    assert begun.status_code == 303
    again = await press(asked, "/console/replays", **fields)
    assert again.headers["location"].partition("?")[0] == page
    await press(page, f"{page}/stop")
    assert "stopped" in text_of(await operator.get(page))
    await press(page, f"{page}/resume")
    await rows(operator, "UPDATE replays SET paced_at = now() - interval '1 minute'")
    assert await advance(resources_of(operator)) == 3
    await rows(operator, "UPDATE plaid_items SET last_synced_at = now(), error_code = NULL")
    await advance(resources_of(operator))
    assert "3 of 3 done" in text_of(await operator.get(page))
    assert "PRODUCT_NOT_READY" in text_of(await operator.get("/console/replays"))
    actors = await rows(operator, "SELECT DISTINCT actor FROM audit_outbox WHERE event_type LIKE 'operator:replay:re%'")
    assert actors == [{"actor": "token:ops"}]


async def test_a_replay_takes_set_aside_items_and_from_recorded_pages_only_those_that_have_some(operator, press):
    item_ids = await register(operator, new_item(1), new_item(2))
    await fail(operator, item_ids[0], "INVALID_FIELD", "INVALID_REQUEST", status="error")
    await fail(operator, item_ids[1], "INVALID_FIELD", "INVALID_REQUEST")
    asked = "/console/replays/new?error_code=INVALID_FIELD&item_status=error"
    assert "1 Item would be synced again" in text_of(await operator.get(asked))
    recorded = text_of(await operator.get(f"{asked}&from_journal=true"))
    assert "No failing Item fits" in recorded
    assert "Pages must have been recorded" in recorded
    # As the dry run's own form says it.
    fields = {"error_code": "INVALID_FIELD", "item_status": "error"}
    assert (await press(asked, "/console/replays", **fields, from_journal="True")).status_code == 404
    assert (await press(asked, "/console/replays", **fields, from_journal="False")).status_code == 303
    chosen = await rows(operator, "SELECT item_id FROM replay_items")
    assert chosen == [{"item_id": item_ids[0]}]
    assert "item status set aside" in text_of(await operator.get("/console/replays"))


async def test_a_replay_of_nothing_or_at_no_rate_is_refused(operator, press):
    assert "No failing Item fits" in text_of(await operator.get("/console/replays/new?error_code=NO_SUCH"))
    assert (await press("/console", "/console/replays", error_code="NO_SUCH")).status_code == 404
    for rate in ("0", "x", "1000000"):
        assert (await press("/console", "/console/replays", rate=rate)).status_code == 422


async def test_the_chain_is_verified_by_a_worker_and_the_page_says_when_it_held(operator, press):
    resources = resources_of(operator)
    assert (await press("/console/audit", "/console/audit/verify")).status_code == 303
    assert await waiting(operator, "maintenance") == ["audit.verify"]
    assert "not verified yet" in text_of(await operator.get("/console/audit"))
    await seal_outbox(resources.database)
    assert (await prove_chain(resources.settings, resources.database, "token:ops")).problem is None
    await seal_outbox(resources.database)
    assert "whole verified" in text_of(await operator.get("/console/audit"))


async def test_what_cannot_be_sent_is_said(operator, press, item_id, monkeypatch):
    publisher = resources_of(operator).publisher
    monkeypatch.setattr(publisher._app, "send_task", lambda *_, **__: (_ for _ in ()).throw(OSError("away")))
    for path in (f"/console/items/{item_id}/reconcile", "/console/audit/verify"):
        answer = await press(f"/console/items/{item_id}", path)
        assert (answer.status_code, "the broker is away" in answer.text.lower()) == (503, True)
