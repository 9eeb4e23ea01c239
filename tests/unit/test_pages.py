import pytest

from core.errors import RestartPaginationError, RetryLaterError
from core.sync import pages
from core.sync.pages import MAX_RESTARTS, fetch_pages


class MutatesForEver:
    """Data that change whenever they are read."""

    def __init__(self):
        self.asked = 0

    async def transactions_sync(self, _token, _cursor):
        self.asked += 1
        raise RestartPaginationError("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")


async def test_there_is_a_pause_before_each_restart_and_none_when_it_is_given_up(monkeypatch):
    pauses, plaid = [], MutatesForEver()
    monkeypatch.setattr(pages, "jittered", lambda seconds, _spread: pauses.append(seconds) or 0)
    with pytest.raises(RetryLaterError):
        await fetch_pages(plaid, "token", None)
    assert (plaid.asked, len(pauses)) == (MAX_RESTARTS + 1, MAX_RESTARTS)
    assert pauses[0] == pages.RESTART_SECONDS
