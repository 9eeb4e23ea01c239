"""Every fault that a webhook can meet, from the simulator's signature to our rows: over HTTP into the front door."""

import secrets
from contextlib import asynccontextmanager

import httpx
import pytest

from core.locking.redis_lock import item_lease, keys_of
from core.models import RunStatus, SyncTrigger
from core.settings import load_settings
from tests.cases.world import World
from tests.web.test_server import served
from web.app import make_app
from web.server import DeadlineProtocol

WEBHOOK, SUCCEEDED = SyncTrigger.WEBHOOK, RunStatus.SUCCEEDED
FORGERIES = ["no_header", "garbage", "signature", "body", "stale", "alg_none", "hs256", "other_key", "unknown_key"]


@asynccontextmanager
async def front_door(settings):
    """Serve the web application and give its resources and the address of its webhooks."""
    app = make_app(settings)
    async with app.router.lifespan_context(app), served(DeadlineProtocol, app) as (host, port):
        yield app.state.services.resources, f"http://{host}:{port}/webhooks/plaid"


@pytest.fixture
async def world(settings, bank_url, monkeypatch):
    """The bank, and our front door that it posts to; whoever drives the test is the worker."""
    monkeypatch.setenv("PLAID_BASE_URL", bank_url)
    monkeypatch.setenv("JWT_SIGNING_KEY", secrets.token_urlsafe(32))
    async with (
        front_door(load_settings()) as (resources, url),
        httpx.AsyncClient(base_url=bank_url, timeout=60) as http,
    ):
        opened = World(resources, http)
        opened.webhook = url
        yield opened
        await opened.control("faults/clear")
        await opened.control("release")
        opened.outbox.close()


@pytest.fixture
async def item(world):
    """A linked Item that was synced once: from then on the bank announces."""
    (linked,) = await world.link(transactions=20, webhook=world.webhook)
    await world.sync(linked)
    return linked


async def sent(world, item):
    """Wait until nothing is on its way, and return the answers, oldest first."""
    told = (await world.control("webhooks", item_id=item.plaid_item_id))["webhooks"]
    return [(one["state"], one["status"]) for one in told]


async def announce(world, item, **changes):
    """Let the bank's data move on, and say so."""
    await world.evolve(item, announce=True, **(changes or {"added": 3, "removed": 2}))


async def is_sent_for(world, item):
    """Tell whether a message for the Item waits, and take it away as a worker does."""
    return bool(await world.resources.redis.delete(keys_of(item_lease(item.id))[2]))


async def received(world):
    ((count,),) = await world.sql("SELECT count(*) FROM webhook_events")
    return count


@pytest.mark.parametrize("same_token", [True, False])
async def test_a_duplicate_is_answered_and_changes_nothing_more(world, item, same_token):
    await world.fault(item, "webhook_duplicate", copies=3, same_token=same_token)
    await announce(world, item)
    assert await sent(world, item) == [("delivered", 200)] * 4
    assert await received(world) <= (1 if same_token else 4)
    assert await is_sent_for(world, item)
    assert (await world.sync(item, WEBHOOK)).status is SUCCEEDED
    await world.check(item)


async def test_two_that_come_in_another_order_end_as_the_bank_has_it(world, item):
    await world.fault(item, "webhook_reorder")
    await world.control("items/fail", item_id=item.plaid_item_id)
    await world.control("items/repair", item_id=item.plaid_item_id)
    assert await sent(world, item) == [("delivered", 200)] * 2
    # The error came last, and was over long ago: a sync finds out.
    assert await world.one(item, "status, next_sync_at <= now()") == ("needs_reauth", True)
    assert await is_sent_for(world, item)
    await world.sync(item, WEBHOOK)
    assert await world.one(item, "status, error_code") == ("active", None)
    await world.check(item)


async def test_one_that_was_signed_too_long_ago_is_refused_until_it_is_signed_anew(world, item):
    await world.fault(item, "webhook_late", seconds=600)
    await announce(world, item)
    assert await sent(world, item) == [("retrying", 401)]
    assert await received(world) == 0
    await world.control("webhooks/retry")
    assert await sent(world, item) == [("delivered", 200)]
    assert await is_sent_for(world, item)
    await world.sync(item, WEBHOOK)
    await world.check(item)


async def test_no_forgery_passes_and_the_true_one_beside_each_does(world, item):
    for number, forgery in enumerate(FORGERIES, start=1):
        await world.fault(item, "webhook_forged", forgery=forgery)
        await announce(world, item, added=1)
        answers = await sent(world, item)
        assert sorted(answers[-2:]) == [("delivered", 200), ("failed", 401)], forgery
        # Two true ones within a second are one to the database.
        assert 1 <= await received(world) <= number, forgery
    await world.sync(item, WEBHOOK)
    await world.check(item)


@pytest.mark.parametrize("how", ["lost", "cut"])
async def test_one_that_never_comes_is_made_up_for_by_the_schedule(world, item, how):
    fault = await world.fault(item, "webhook_lost" if how == "lost" else "webhook_hold")
    await announce(world, item)
    if how == "cut":
        await world.control("held", fault_id=fault)
        await world.control("release", fault_id=fault, how="cut")
    assert await sent(world, item) == [("lost", None)]
    assert not await is_sent_for(world, item)
    await world.sql("UPDATE plaid_items SET next_sync_at = next_sync_at - interval '2 days'")
    assert await world.tick() == [(item.id, SyncTrigger.SCHEDULED)]
    await world.sync(item, SyncTrigger.SCHEDULED)
    await world.check(item)


async def test_a_key_that_is_new_is_asked_for_and_one_that_has_expired_is_refused(world, item):
    await world.control("keys/rotate")
    await announce(world, item)
    assert await sent(world, item) == [("delivered", 200)]
    fresh = (await world.control("keys/rotate"))["key"]["kid"]
    await world.control("keys/expire", key_id=fresh)
    await announce(world, item)
    assert (await sent(world, item))[-1] == ("retrying", 401)
    await world.control("keys/rotate")
    await world.control("webhooks/retry")
    assert (await sent(world, item))[-1] == ("delivered", 200)
    await world.sync(item, WEBHOOK)
    await world.check(item)


async def test_two_within_one_second_are_not_taken_for_one(world, item):
    """Plaid's bodies repeat and its signature counts seconds, so that the second looks like the first's replay."""
    for _ in range(5):
        await announce(world, item, added=1)
        assert (await sent(world, item))[-1] == ("delivered", 200)
        assert await is_sent_for(world, item), "an announced change was dropped"
        await world.sync(item, WEBHOOK)
        await world.check(item)


async def test_one_for_an_item_that_is_removed_is_kept_and_wakes_nobody(world, item):
    await world.sql("UPDATE plaid_items SET status = 'removed', next_sync_at = NULL, version = version + 1")
    await announce(world, item)
    assert await sent(world, item) == [("delivered", 200)]
    assert await received(world) == 1
    assert not await is_sent_for(world, item)
    assert await world.one(item, "status, next_sync_at") == ("removed", None)
