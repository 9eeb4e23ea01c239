"""A warm shutdown, or a time limit, can cancel a sync at any await: whatever it had done by then is told truly."""

import asyncio
from dataclasses import replace

import pytest

from core.models import SyncTrigger
from core.sync.sweep import sweep
from core.sync.sync_item import sync_item
from tests.cases.conftest import bank_url, impatient, item, world  # noqa: F401 - fixtures of the cases
from tests.machine.mortal import Life, mortal


@pytest.fixture
def settings(settings, bank_url):  # noqa: F811
    # One page is committed together with those of others, two are by themselves, and either may be staged.
    return settings.model_copy(update={"plaid_base_url": bank_url, "sync_page_size": 4})


class Cancelling(Life):
    """Cancels the sync at a step, and lives on."""

    task = None

    def step(self):
        if self.left == 0:
            # By somebody else, and so in whatever is awaited next.
            asyncio.get_running_loop().call_soon(self.task.cancel)
        if self.left is not None:
            self.left -= 1


async def cancelled_at(world, item, steps, monkeypatch):  # noqa: F811
    """Sync, cancelled after so many steps; tell whether it was."""
    monkeypatch.setattr("tests.machine.mortal.Life", Cancelling)
    # With the lease of the process: a cancellation that comes in a call of redis-py may get lost there.
    resources = replace(mortal(world.resources, steps), lease=world.resources.lease)
    Cancelling.task = syncing = asyncio.create_task(sync_item(resources, item.id, SyncTrigger.SCHEDULED))
    await asyncio.wait({syncing})
    assert syncing.cancelled() or syncing.exception() is None
    return syncing.cancelled()


@pytest.mark.parametrize("pages", [1, 2, "staged"])
async def test_a_sync_that_is_cancelled_at_any_step_is_recorded_as_what_it_was(world, item, monkeypatch, pages):  # noqa: F811
    if pages == "staged":
        monkeypatch.setattr("core.sync.commit.STAGED_PAGES", 0)
    await world.sync(item)
    steps, was_cancelled = 0, True
    while was_cancelled:
        await world.evolve(item, added=5 if pages == 2 else 1)
        was_cancelled = await cancelled_at(world, item, steps, monkeypatch)
        # Nothing is left open, and a failure is told of exactly the runs that failed.
        await world.eventually("SELECT 1 FROM sync_runs WHERE status = 'running'", [])
        failed = await world.sql("SELECT count(*) FROM sync_runs WHERE status = 'failed'")
        told = "SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:item:sync_failed'"
        assert await world.sql(told) == failed, steps
        # The lease runs out by itself where its taking was cancelled.
        await world.resources.redis.flushdb()
        await world.sync(item)
        # Rows that were staged and not cleaned up are the sweep's.
        await sweep(world.resources)
        await world.check(item)
        steps += 1
    assert steps > 5
