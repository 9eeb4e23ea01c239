"""An Item is removed while its access token is being replaced: Plaid has to forget it all the same, once it can."""

import asyncio

import pytest

from core.errors import SyncError
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
