"""One simulator a test process; a database, a Redis and Items of its own for each test."""

import httpx
import pytest
from tenacity import wait_none

from tests.cases.world import World
from tests.simulator.conftest import running


@pytest.fixture(scope="session")
def bank_url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("bank") / "log") as url:
        yield url


@pytest.fixture
def settings(settings, bank_url):
    return settings.model_copy(update={"plaid_base_url": bank_url})


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """No pause between two attempts."""
    monkeypatch.setattr("core.plaid.client.wait_exponential_jitter", lambda **_: wait_none())
    monkeypatch.setattr("core.sync.pages.RESTART_SECONDS", 0)


@pytest.fixture
async def world(resources, bank_url):
    async with httpx.AsyncClient(base_url=bank_url, timeout=60) as http:
        opened = World(resources, http)
        yield opened
        opened.outbox.close()


@pytest.fixture
async def item(world):
    (linked,) = await world.link(transactions=30)
    return linked
