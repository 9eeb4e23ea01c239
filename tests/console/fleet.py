"""A fleet at work: Items of a few banks, linked at the simulator and really synced; only the clock is turned back."""

import asyncio

from core.audit.sink import seal_outbox
from core.items.registration import NewItem
from core.models import SyncTrigger
from core.sync.sync_item import sync_item
from tests.console.conftest import register, resources_of, rows

BANKS = {"ins_109508": 12, "ins_109509": 9, "ins_109510": 7, "ins_109511": 4}
FAILING = "ins_109510"
DOWN = "ins_109511"
# As if the day had gone by: when each Item was synced, spread over the last hours, and its run over the last hour.
TURN_BACK = """
WITH placed AS (SELECT id, row_number() OVER (ORDER BY id) AS place FROM plaid_items WHERE error_code IS NULL)
UPDATE plaid_items SET last_synced_at = now() - make_interval(secs => 240 * power(1.33, place)),
    next_sync_at = now() + make_interval(secs => 14400 - 300 * place) FROM placed WHERE placed.id = plaid_items.id
"""
SPREAD_RUNS = """
WITH placed AS (SELECT id, row_number() OVER (ORDER BY id) AS place FROM sync_runs)
UPDATE sync_runs SET started_at = started_at - make_interval(secs => (place * 613) % 3400),
    finished_at = finished_at - make_interval(secs => (place * 613) % 3400) FROM placed WHERE placed.id = sync_runs.id
"""


async def settle(client, item_ids, trigger=SyncTrigger.SCHEDULED):
    """Do what a worker would do with the messages of these Items."""
    for item_id in item_ids:
        await sync_item(resources_of(client), item_id, trigger)


async def populate(client, simulator):
    """Link and sync the fleet, have one bank fail, one be down, and one user change a password."""
    linked = {
        bank: await asyncio.to_thread(
            lambda bank=bank, count=count: simulator.control("items", count=count, transactions=30, institution_id=bank)
        )
        for bank, count in BANKS.items()
    }
    ids = {}
    for bank, made in linked.items():
        new = [
            NewItem(f"user-{bank[-2:]}{number:02}", one["item_id"], one["access_token"], bank)
            for number, one in enumerate(made["items"])
        ]
        ids[bank] = await register(client, *new)
        await settle(client, ids[bank])
    locked_out = linked["ins_109508"]["items"][3]
    simulator.control("items/fail", item_id=locked_out["item_id"], announce=False)
    faults = [
        simulator.control("faults", kind="error", institution_id=bank, error_code=code, times=None)["fault_id"]
        for bank, code in ((FAILING, "INSTITUTION_REGISTRATION_REQUIRED"), (DOWN, "INSTITUTION_DOWN"))
    ]
    await settle(client, [*ids[FAILING], *ids[DOWN], ids["ins_109508"][3]])
    await rows(client, TURN_BACK)
    await rows(client, SPREAD_RUNS)
    await seal_outbox(resources_of(client).database)
    return ids, faults
