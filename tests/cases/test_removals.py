"""What Plaid has to forget, many at a time."""

import asyncio

from core.items.removal import remove_item, revoke_due

ACTOR = "operator:test"


async def test_a_removal_that_hangs_keeps_no_other_waiting(world):
    slow, quick = await world.link(2)
    for one in (slow, quick):
        await remove_item(world.resources, one.id, ACTOR)
    fault = await world.fault(slow, "hold", phase="response", path="/item/remove")
    revoking = asyncio.create_task(revoke_due(world.resources))
    await world.control("held", fault_id=fault)
    await world.eventually("SELECT item_id FROM item_removals WHERE removed_at IS NOT NULL", [(quick.id,)])
    await world.control("release", fault_id=fault)
    assert await revoking == 2
