"""Access tokens replaced at Plaid, with every way in which the answer can fail to arrive. Against the simulator."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from core.errors import (
    ClientRefusedError,
    ItemIsGoneError,
    LockNotAcquiredError,
    NotFoundError,
    RetryLaterError,
    UserMustActError,
)
from core.items import token_rotation as module
from core.items.registration import NewItem, register_items
from core.items.removal import remove_item
from core.items.sync_request import request_sync
from core.items.token_rotation import rotate_access_token, settle_token_rotation
from core.models import AuditOutbox, PlaidItem, RunStatus, SyncRun, SyncTrigger, TokenRotation
from core.resources import open_resources
from core.settings import load_settings
from core.sync.sync_item import sync_item
from tests.simulator.conftest import Plaid, running

ACTOR = "operator:test"
INVALIDATE = "/item/access_token/invalidate"


@pytest.fixture(scope="module")
def simulator_url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("simulator") / "log") as url:
        yield url


@pytest.fixture
def simulator(simulator_url):
    plaid = Plaid(simulator_url)
    with plaid.http:
        yield plaid


@pytest.fixture
async def resources(settings, simulator_url, monkeypatch):
    """A process that takes the simulator for Plaid."""
    monkeypatch.setenv("PLAID_BASE_URL", simulator_url)
    async with open_resources(load_settings()) as opened:
        yield opened


@pytest.fixture
def linked(simulator):
    return simulator.link()


@pytest.fixture
async def item_id(resources, linked):
    new = NewItem("u", linked["item_id"], linked["access_token"])
    (registered,) = await register_items(resources.database, [new], ACTOR)
    return registered


async def state(resources, item_id):
    """Return the Item's token, status and error, and how its rotations ended."""
    async with resources.database.transaction() as session:
        item = await session.get(PlaidItem, item_id)
        query = select(TokenRotation.status).where(TokenRotation.item_id == item_id).order_by(TokenRotation.id)
        rotations = (await session.scalars(query)).all()
    return item.plaid_access_token, item.status.value, item.error_code, [rotation.value for rotation in rotations]


async def works(resources, token) -> bool:
    try:
        await resources.plaid.post("/item/get", {"access_token": token})
    except ItemIsGoneError:
        return False
    return True


async def test_the_new_token_is_stored_and_the_old_one_is_dead(resources, item_id, linked):
    await rotate_access_token(resources, item_id, ACTOR)
    token, status, error, rotations = await state(resources, item_id)
    assert (status, error, rotations) == ("active", None, ["done"])
    assert token != linked["access_token"]
    assert await works(resources, token)
    assert not await works(resources, linked["access_token"])
    async with resources.database.connection() as connection:
        events = (await connection.scalars(select(AuditOutbox.event_type).order_by(AuditOutbox.id))).all()
    assert events == ["operator:item:registered", "plaid:token:decrypted", "plaid:token:rotated"]


async def test_a_refusal_leaves_the_old_token_as_good_as_it_was(resources, item_id, linked, simulator):
    simulator.fault(linked, "error", path=INVALIDATE, error_code="PRODUCTS_NOT_SUPPORTED")
    with pytest.raises(Exception, match="PRODUCTS_NOT_SUPPORTED"):
        await rotate_access_token(resources, item_id, ACTOR)
    assert await state(resources, item_id) == (linked["access_token"], "active", None, ["failed"])
    await rotate_access_token(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[3] == ["failed", "done"]


async def test_a_lost_answer_is_told_from_a_refusal_and_the_item_needs_its_user(resources, item_id, linked, simulator):
    simulator.fault(linked, "cut", phase="response", path=INVALIDATE)
    with pytest.raises(UserMustActError, match="ACCESS_TOKEN_LOST"):
        await rotate_access_token(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[1:] == ("needs_reauth", "ACCESS_TOKEN_LOST", ["lost"])


async def test_an_answer_that_cannot_be_read_is_a_lost_one(resources, item_id, linked, simulator):
    simulator.fault(linked, "truncate", path=INVALIDATE, bytes=20)
    with pytest.raises(UserMustActError, match="ACCESS_TOKEN_LOST"):
        await rotate_access_token(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[3] == ["lost"]


async def test_a_request_that_never_arrived_changes_nothing(resources, item_id, linked, simulator):
    simulator.fault(linked, "cut", phase="request", path=INVALIDATE, times=3)
    with pytest.raises(RetryLaterError):
        await rotate_access_token(resources, item_id, ACTOR)
    assert await state(resources, item_id) == (linked["access_token"], "active", None, ["failed"])


async def test_while_nobody_can_tell_the_intent_stays_open_and_is_settled_first(resources, item_id, linked, simulator):
    simulator.fault(linked, "cut", phase="response", path=INVALIDATE)
    # By its path alone: the simulator does not know the Item by a token that is dead.
    away = {"kind": "error", "path": "/item/get", "error_code": "INTERNAL_SERVER_ERROR", "times": None}
    fault = simulator.control("faults", **away)["fault_id"]
    with pytest.raises(RetryLaterError):
        await rotate_access_token(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[3] == ["started"]
    simulator.control("faults/clear", fault_ids=[fault])
    with pytest.raises(UserMustActError, match="ACCESS_TOKEN_LOST"):
        await rotate_access_token(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[3] == ["lost"]


async def test_a_process_killed_before_the_answer_leaves_an_intent_that_tells(resources, item_id, linked, simulator):
    # What a kill leaves: the intent, and a token that Plaid has replaced.
    await module._begin(resources, item_id, ACTOR)
    simulator.ask(INVALIDATE, linked)
    with pytest.raises(UserMustActError, match="ACCESS_TOKEN_LOST"):
        await settle_token_rotation(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[1] == "needs_reauth"


async def test_a_process_killed_before_the_question_leaves_nothing_to_mend(resources, item_id, linked):
    await module._begin(resources, item_id, ACTOR)
    await settle_token_rotation(resources, item_id, ACTOR)
    assert await state(resources, item_id) == (linked["access_token"], "active", None, ["failed"])
    await settle_token_rotation(resources, item_id, ACTOR)


async def test_cancelled_in_the_middle_it_stores_the_token_first(resources, item_id, linked, simulator):
    fault = simulator.fault(linked, "hold", phase="response", path=INVALIDATE)
    rotating = asyncio.create_task(rotate_access_token(resources, item_id, ACTOR))
    await asyncio.to_thread(simulator.control, "held", fault_id=fault)
    rotating.cancel()
    await asyncio.to_thread(simulator.control, "release", fault_id=fault)
    with pytest.raises(asyncio.CancelledError):
        await rotating
    token, *_, rotations = await state(resources, item_id)
    assert rotations == ["done"]
    assert await works(resources, token)


async def test_a_database_that_stays_away_parks_the_sealed_token(resources, item_id, linked, monkeypatch):
    async def away(*_):
        raise OperationalError("COMMIT", {}, ConnectionError())

    commit = module.commit_token
    monkeypatch.setattr(module, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(module, "commit_token", away)
    with pytest.raises(RetryLaterError, match="TOKEN_PARKED"):
        await rotate_access_token(resources, item_id, ACTOR)
    (key,) = await resources.redis.keys("token-rotation:*")
    assert (await resources.redis.get(key)).startswith(b"sealed:v1:")
    monkeypatch.setattr(module, "commit_token", commit)
    await settle_token_rotation(resources, item_id, ACTOR)
    token, *_, rotations = await state(resources, item_id)
    assert rotations == ["done"]
    assert await works(resources, token)
    assert await resources.redis.keys("token-rotation:*") == []


async def last_run(resources, item_id):
    """Sync the Item, and return how its run ended and when the Item is due."""
    await sync_item(resources, item_id, SyncTrigger.SCHEDULED)
    async with resources.database.transaction() as session:
        query = select(SyncRun).where(SyncRun.item_id == item_id).order_by(SyncRun.id.desc()).limit(1)
        run = await session.scalar(query)
        item = await session.get(PlaidItem, item_id)
    return run.status.value, run.error_code, item.next_sync_at


async def test_a_sync_that_meets_the_dead_token_finds_out_and_asks_for_the_user(resources, item_id, linked, simulator):
    await module._begin(resources, item_id, ACTOR)
    simulator.ask(INVALIDATE, linked)
    assert await last_run(resources, item_id) == ("failed", "ACCESS_TOKEN_LOST", None)
    assert (await state(resources, item_id))[1:] == ("needs_reauth", "ACCESS_TOKEN_LOST", ["lost"])


async def test_a_sync_that_meets_the_dead_token_stores_the_parked_one_and_comes_again(
    resources, item_id, linked, simulator
):
    rotation = await module._begin(resources, item_id, ACTOR)
    new = simulator.ask(INVALIDATE, linked).json()["new_access_token"]
    await resources.redis.set(module.parked_key(rotation), module._sealed(item_id, new))
    status, error, due = await last_run(resources, item_id)
    assert (status, error, due is None) == ("failed", "ACCESS_TOKEN_REPLACED", False)
    assert (await last_run(resources, item_id))[:2] == ("succeeded", None)
    assert await state(resources, item_id) == (new, "active", None, ["done"])


async def test_without_an_open_rotation_a_dead_item_is_gone(resources, item_id, linked, simulator):
    simulator.ask(INVALIDATE, linked)
    assert (await last_run(resources, item_id))[1] in {"ITEM_NOT_FOUND", "INVALID_ACCESS_TOKEN"}
    assert (await state(resources, item_id))[3] == []


async def test_a_holder_that_stood_still_still_stores_what_a_sync_gave_up(resources, item_id, linked, simulator):
    rotation = await module._begin(resources, item_id, ACTOR)
    new = simulator.ask(INVALIDATE, linked).json()["new_access_token"]
    assert (await last_run(resources, item_id))[1] == "ACCESS_TOKEN_LOST"
    await module._store(resources, rotation, module._sealed(item_id, new))
    assert await state(resources, item_id) == (new, "active", None, ["done"])
    assert (await last_run(resources, item_id))[0] == "succeeded"


async def test_an_item_that_syncs_or_does_not_exist_is_left_alone(resources, item_id, linked):
    async with resources.lease(item_id):
        with pytest.raises(LockNotAcquiredError):
            await rotate_access_token(resources, item_id, ACTOR)
    with pytest.raises(NotFoundError):
        await rotate_access_token(resources, uuid4(), ACTOR)
    assert await state(resources, item_id) == (linked["access_token"], "active", None, [])


def test_the_answer_does_not_show_its_token():
    assert "access" not in repr(module.Replaced("access-sandbox-1"))
    assert "access" not in repr(module.OpenRotation(uuid4(), uuid4(), ACTOR, "access-sandbox-1", "sealed:access"))


async def test_an_item_removed_under_a_sync_with_an_open_rotation_has_its_run_closed(resources, item_id):
    class RemovedMeanwhile:
        async def transactions_sync(self, *_):
            await remove_item(resources, item_id, ACTOR)
            raise ItemIsGoneError("ITEM_NOT_FOUND", error_type="ITEM_ERROR")

    await module._begin(resources, item_id, ACTOR)
    outcome = await sync_item(replace(resources, plaid=RemovedMeanwhile()), item_id, SyncTrigger.SCHEDULED)
    assert outcome.error_code == "ITEM_NOT_FOUND"
    async with resources.database.transaction() as session:
        assert (await session.scalars(select(SyncRun.status))).all() == [RunStatus.FAILED]


async def test_a_sync_under_which_the_token_was_replaced_comes_again_with_the_new_one(resources, item_id):
    class Replacing:
        async def transactions_sync(self, *asked):
            # The sync stood still for longer than its lease lasts.
            await resources.redis.flushdb()
            await rotate_access_token(resources, item_id, ACTOR)
            return await resources.plaid.transactions_sync(*asked)

    outcome = await sync_item(replace(resources, plaid=Replacing()), item_id, SyncTrigger.SCHEDULED)
    assert outcome.error_code == "ACCESS_TOKEN_REPLACED"
    assert (await state(resources, item_id))[1:] == ("active", "ACCESS_TOKEN_REPLACED", ["done"])
    assert (await last_run(resources, item_id))[0] == "succeeded"


async def test_of_two_rotations_beside_each_other_none_gives_up_what_the_other_stored(
    resources, item_id, linked, simulator
):
    slow = await module._begin(resources, item_id, ACTOR)
    # It has not asked yet, and its lease is gone: for whoever looks nothing has happened.
    await settle_token_rotation(resources, item_id, ACTOR)
    quick = await module._begin(resources, item_id, ACTOR)
    new = simulator.ask(INVALIDATE, linked).json()["new_access_token"]
    await module._store(resources, slow, module._sealed(item_id, new))
    with pytest.raises(RetryLaterError, match="ACCESS_TOKEN_REPLACED"):
        await module._replace(resources, quick)
    await settle_token_rotation(resources, item_id, ACTOR)
    assert await state(resources, item_id) == (new, "active", None, ["done", "failed"])


async def test_an_item_that_was_taken_for_gone_meanwhile_lives_on_with_its_new_token(
    resources, item_id, linked, simulator
):
    slow = await module._begin(resources, item_id, ACTOR)
    await settle_token_rotation(resources, item_id, ACTOR)
    new = simulator.ask(INVALIDATE, linked).json()["new_access_token"]
    assert (await last_run(resources, item_id))[1] == "ITEM_NOT_FOUND"
    assert (await state(resources, item_id))[1] == "revoked"
    await module._store(resources, slow, module._sealed(item_id, new))
    assert await state(resources, item_id) == (new, "active", None, ["done"])
    assert (await last_run(resources, item_id))[0] == "succeeded"


async def test_a_lost_token_stays_lost_whatever_its_user_is_said_to_have_done(resources, item_id, linked, simulator):
    await module._begin(resources, item_id, ACTOR)
    simulator.ask(INVALIDATE, linked)
    assert (await last_run(resources, item_id))[1] == "ACCESS_TOKEN_LOST"
    await request_sync(resources, item_id, ACTOR, repaired=True)
    assert (await state(resources, item_id))[1] == "active"
    assert await last_run(resources, item_id) == ("failed", "ACCESS_TOKEN_LOST", None)
    assert (await state(resources, item_id))[1:] == ("needs_reauth", "ACCESS_TOKEN_LOST", ["lost"])


async def test_keys_that_plaid_refuses_settle_nothing(resources, item_id, linked, simulator):
    await module._begin(resources, item_id, ACTOR)
    simulator.ask(INVALIDATE, linked)
    refused = {"kind": "error", "path": "/item/get", "error_code": "INVALID_API_KEYS", "times": None}
    fault = simulator.control("faults", **refused)["fault_id"]
    with pytest.raises(ClientRefusedError):
        await settle_token_rotation(resources, item_id, ACTOR)
    assert (await state(resources, item_id))[3] == ["started"]
    simulator.control("faults/clear", fault_ids=[fault])
    with pytest.raises(UserMustActError, match="ACCESS_TOKEN_LOST"):
        await settle_token_rotation(resources, item_id, ACTOR)
