"""Every call that reaches Plaid is paid for: attempts after a failure too, and a 429 from whoever sends it slows us."""

from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from tenacity import AsyncRetrying, RetryCallState, wait_none

from core.errors import RetryLaterError, SyncError
from core.plaid.budgeted import BudgetedPages
from core.plaid.client import PlaidClient, _pause
from core.plaid.limits import Budget, Limits, Priority
from tests.simulator.conftest import server, simulator  # noqa: F401 - fixtures of the simulator

SYNC = "/transactions/sync"


@pytest.fixture
async def client(settings, simulator, monkeypatch):  # noqa: F811 - the fixture of that name
    monkeypatch.setattr("core.plaid.client.BACKOFF", wait_none())
    opened = PlaidClient(settings.model_copy(update={"plaid_base_url": simulator.url}), "sandbox-secret")
    yield opened
    await opened.aclose()


@asynccontextmanager
async def budget(redis_url, limits, patience):
    async with Redis.from_url(redis_url) as redis:
        opened = Budget(redis, limits, patience_seconds=patience)
        yield opened
        await opened.close()


def asked(simulator, item):  # noqa: F811
    return simulator.control("requests", item_id=item["item_id"])["items"][item["item_id"]]["requests"][SYNC]


@pytest.mark.parametrize(
    ("fault", "calls", "refused"),
    [
        ({"kind": "error", "error_code": "INTERNAL_SERVER_ERROR", "times": 2}, 3, 0),
        ({"kind": "error", "error_code": "INTERNAL_SERVER_ERROR", "times": None}, 3, 0),
        ({"kind": "cut", "times": 1}, 2, 0),
        ({"kind": "error", "error_code": "ITEM_LOGIN_REQUIRED"}, 1, 0),
        ({"kind": "error", "error_code": "TRANSACTIONS_SYNC_LIMIT"}, 1, 1),
        # A gateway's, without Plaid's error object: asking again at once is what it asks us not to do.
        ({"kind": "html", "status": 429}, 1, 1),
    ],
    ids=["500, then well", "500", "cut", "log-in", "429", "429 of a gateway"],
)
async def test_what_plaid_counts_is_what_was_paid_for(client, redis_url, simulator, fault, calls, refused):  # noqa: F811, PLR0917 - three of its table, three fixtures
    item = simulator.link(transactions=3)
    simulator.fault(item, **fault)
    async with budget(redis_url, Limits(50, 1000), 20) as purse:
        try:
            await BudgetedPages(client, purse, "item", Priority.SCHEDULED).transactions_sync(item["access_token"], None)
        except SyncError:
            assert calls != 2, "it should have got over it"
        assert asked(simulator, item) == purse.figures().spent == calls
        assert purse.figures().refused == refused


async def test_an_attempt_for_which_there_is_no_budget_is_not_made(client, redis_url, simulator):  # noqa: F811
    item = simulator.link(transactions=3)
    simulator.fault(item, "error", error_code="INTERNAL_SERVER_ERROR", times=None)
    async with budget(redis_url, Limits(1, 1000), 0) as purse:
        with pytest.raises(SyncError, match="OUTBOUND_BUDGET"):
            await BudgetedPages(client, purse, "item", Priority.SCHEDULED).transactions_sync(item["access_token"], None)
    assert asked(simulator, item) == 1


@pytest.mark.parametrize(
    ("seconds", "calls"), [(0, 3), (60, 1)], ids=["soon: asked again", "later: left to the schedule"]
)
async def test_a_server_that_says_when_to_come_again_is_not_asked_before(client, simulator, seconds, calls):  # noqa: F811
    item = simulator.link(transactions=3)
    simulator.fault(item, kind="error", error_code="INTERNAL_SERVER_ERROR", retry_after=seconds, times=None)
    with pytest.raises(RetryLaterError) as told:
        await client.transactions_sync(item["access_token"], None)
    assert (asked(simulator, item), told.value.retry_after) == (calls, seconds)


@pytest.mark.parametrize(("told", "pause"), [(None, 0), (3.0, 3.0)])
async def test_the_pause_before_the_next_attempt_is_at_least_what_was_asked_for(client, told, pause):
    state = RetryCallState(AsyncRetrying(), None, (), {})
    error = RetryLaterError("HTTP_503", error_type="HTTP", retry_after=told)
    state.set_exception((RetryLaterError, error, None))
    assert _pause(state) == pause
