"""A fleet whose pages are kept, and a commit that fails after they were fetched."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from core.models import SyncTrigger
from core.resources import open_resources
from core.settings import load_settings
from core.sync.replay.from_journal import apply_recorded
from core.sync.sync_item import sync_item
from tests.integration.plaid_script import PlaidScript
from tests.replay.conftest import Fleet


@pytest.fixture
async def resources(settings, monkeypatch):
    """A process that keeps pages for three days."""
    monkeypatch.setenv("PAGE_JOURNAL_DAYS", "3")
    async with open_resources(load_settings()) as opened:
        yield opened


class JournalFleet(Fleet):
    """Items whose syncs may fail between the last page and the commit."""

    async def lose_commit(self, item_id, *answers):
        """Sync an Item while PostgreSQL refuses every transaction of it; return the failed run."""
        await self.run("ALTER TABLE transactions ADD CONSTRAINT away CHECK (false) NOT VALID")
        with pytest.raises(IntegrityError):
            await self.sync(item_id, *answers)
        await self.run("ALTER TABLE transactions DROP CONSTRAINT away")
        ((run_id, status),) = await self.all("SELECT id, status FROM sync_runs ORDER BY started_at DESC LIMIT 1")
        assert status == "failed"
        return run_id

    async def sync(self, item_id, *answers):
        script = PlaidScript(*answers)
        return await sync_item(replace(self.resources, plaid=script), item_id, SyncTrigger.SCHEDULED)

    async def apply(self, run_id):
        """Apply a run's pages while nothing can ask Plaid."""
        return await apply_recorded(replace(self.resources, plaid=None), run_id)

    async def sent_runs(self):
        """Take the runs off the replay queue whose pages are to be applied."""
        return [UUID(run_id) for arguments in await self.taken("sync.replay_pages") for run_id in arguments["run_ids"]]

    async def standing(self):
        found = await self.all("SELECT transaction_id FROM transactions WHERE removed_at IS NULL ORDER BY 1")
        return [one for (one,) in found]


@pytest.fixture
def fleet(resources):
    return JournalFleet(resources)
