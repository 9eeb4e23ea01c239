"""Five thousand malformed answers, to Items that share their transactions with healthy ones."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from core.items.registration import NewItem, register_items
from core.models import RunStatus, SyncTrigger
from core.sync.sync_item import sync_item
from tests.cases.answers import answers
from tests.cases.world import World
from tests.integration.plaid_script import PlaidScript, page, transaction

ANSWERS, ITEMS = 500, 20


class Beside:
    """An Item, and the rows that it ought to have."""

    def __init__(self, item_id):
        self.id = item_id
        self.rows = {}
        self.commits = 0

    def learn(self, transactions):
        self.commits += 1
        self.rows |= {one["transaction_id"]: (Decimal(str(one["amount"])), one["name"]) for one in transactions}


@pytest.fixture
async def items(resources):
    new = [NewItem("u1", f"itm{number}", "access-sandbox-1") for number in range(ITEMS + 1)]
    return [Beside(item_id) for item_id in await register_items(resources.database, new, "operator:test")]


async def tell(resources, item, body):
    return await sync_item(replace(resources, plaid=PlaidScript(body)), item.id, SyncTrigger.MANUAL)


@pytest.mark.parametrize("seed", range(10))
async def test_malformed_answers_store_what_is_well_formed_and_hurt_no_neighbour(resources, items, seed):
    healthy, *troubled = items
    told = list(answers(seed, ANSWERS))
    for start in range(0, ANSWERS, ITEMS):
        batch = told[start : start + ITEMS]
        news = transaction(f"t{start}", amount=start)
        syncs = [tell(resources, item, answer.body) for item, answer in zip(troubled, batch, strict=True)]
        # All at once, so that they share round trips. Whatever is no SyncError would be raised here.
        well, *outcomes = await asyncio.gather(tell(resources, healthy, page([news])), *syncs)
        assert well.status is RunStatus.SUCCEEDED
        healthy.learn([news])
        for item, answer, outcome in zip(troubled, batch, outcomes, strict=True):
            settle(item, answer, outcome)
    await compare(resources, items)


def settle(item, answer, outcome):
    """Note what the outcome says about an answer, if it may say so."""
    if outcome.status is RunStatus.SUCCEEDED:
        assert not answer.spoils_all, answer.wrong
        item.learn(answer.good)
    else:
        assert answer.may_spoil_all, (answer.wrong, outcome)
        assert outcome.verdict == "retry_later"


async def compare(resources, items):
    world = World(resources, None)
    for item in items:
        stored = await world.sql("SELECT transaction_id, amount, name FROM transactions WHERE item_id = :i", i=item.id)
        assert {key: (amount, name) for key, amount, name in stored} == item.rows
        assert await world.one(item, "version") == (item.commits,)
    assert await world.sql("SELECT 1 FROM sync_runs WHERE status = 'running'") == []
    (kept,) = await world.sql("SELECT count(*) FROM quarantined_transactions")
    assert kept > (ITEMS,)
    world.outbox.close()
