"""An Item is removed while its access token is being replaced: Plaid has to forget it all the same, once it can."""

import asyncio
import json

import pytest

from core.errors import SyncError
from core.items import removal, token_rotation
from core.items.removal import remove_item, revoke_due
from core.items.token_rotation import rotate_access_token
from tests.cases.conftest import bank_url, impatient, item, settings, world  # noqa: F401 - fixtures of the cases

ACTOR, INVALIDATE = "operator:test", "/item/access_token/invalidate"


async def is_forgotten(world, item):  # noqa: F811
    (told,) = (await world.control("items/list", item_ids=[item.plaid_item_id]))["items"]
    return told["removed"]


async def try_again(world):  # noqa: F811
    await world.sql("UPDATE item_removals SET next_attempt_at = now()")
    return await revoke_due(world.resources)


async def test_the_new_token_is_used_to_have_plaid_forget_it(world, item):  # noqa: F811
    # Plaid has replaced the token, and its answer is on its way.
    fault = await world.fault(item, "hold", phase="response", path=INVALIDATE)
    replacing = asyncio.create_task(rotate_access_token(world.resources, item.id, ACTOR))
    await world.control("held", fault_id=fault)
    await remove_item(world.resources, item.id, ACTOR)
    assert await revoke_due(world.resources) == 0
    assert not await is_forgotten(world, item)
    await world.control("release", fault_id=fault)
    await replacing
    assert await try_again(world) == 1
    assert await is_forgotten(world, item)
    assert await world.one(item, "status") == ("removed",)


async def test_a_token_that_is_lost_then_brings_no_removed_item_back(world, item):  # noqa: F811
    fault = await world.fault(item, "hold", phase="response", path=INVALIDATE)
    replacing = asyncio.create_task(rotate_access_token(world.resources, item.id, ACTOR))
    await world.control("held", fault_id=fault)
    await remove_item(world.resources, item.id, ACTOR)
    await world.control("release", fault_id=fault, how="cut")
    with pytest.raises(SyncError):
        await replacing
    assert await world.one(item, "status, next_sync_at") == ("removed", None)
    # Nobody has a token that lives: there is nothing that could be tried again.
    assert await try_again(world) == 1


async def replaced_at_plaid(world, item):  # noqa: F811
    """Have Plaid replace the token, and return the new one."""
    body = await world.resources.plaid.post(INVALIDATE, {"access_token": item.access_token})
    return json.loads(body)["new_access_token"]


async def test_a_token_that_was_parked_is_the_one_that_ends_the_item(world, item):  # noqa: F811
    # What a process leaves that PostgreSQL was away for, and that ended.
    rotation = await token_rotation._begin(world.resources, item.id, ACTOR)
    sealed = token_rotation._sealed(item.id, await replaced_at_plaid(world, item))
    await world.resources.redis.set(token_rotation.parked_key(rotation), sealed)
    await remove_item(world.resources, item.id, ACTOR)
    assert await revoke_due(world.resources) == 0
    assert await try_again(world) == 1
    assert await is_forgotten(world, item)
    assert await world.one(item, "status, next_sync_at") == ("removed", None)


async def test_a_rotation_that_lost_its_lease_and_comes_back_has_plaid_asked_again(world, item):  # noqa: F811
    fault = await world.fault(item, "hold", phase="response", path=INVALIDATE)
    replacing = asyncio.create_task(rotate_access_token(world.resources, item.id, ACTOR))
    await world.control("held", fault_id=fault)
    await remove_item(world.resources, item.id, ACTOR)
    await world.resources.redis.flushdb()
    # As far as anybody can tell the token is lost.
    assert await revoke_due(world.resources) == 1
    assert not await is_forgotten(world, item)
    await world.control("release", fault_id=fault)
    await replacing
    assert await revoke_due(world.resources) == 1
    assert await is_forgotten(world, item)
    assert await world.one(item, "status, next_sync_at") == ("removed", None)


async def test_a_claim_from_before_a_rotation_ends_nothing(world, item):  # noqa: F811
    await remove_item(world.resources, item.id, ACTOR)
    (claimed,) = await removal._claim(world.resources)
    await world.sql("UPDATE plaid_items SET status = 'active'")
    await rotate_access_token(world.resources, item.id, ACTOR)
    # Its commit was under way when the removal was claimed, so that its time is before that.
    await world.sql("UPDATE token_rotations SET finished_at = finished_at - interval '1 minute'")
    await world.sql("UPDATE plaid_items SET status = 'removed'")
    assert not await removal._revoke(world.resources, claimed)
    assert await try_again(world) == 1
    assert await is_forgotten(world, item)
