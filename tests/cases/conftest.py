"""One simulator a test process; a database, a Redis and Items of its own for each test."""

import hashlib
import json
from datetime import UTC, datetime

import httpx
import pytest
from tenacity import wait_none

from core.plaid.webhook_verification import VerifiedWebhook
from core.webhooks.inbox import Inbox
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
    monkeypatch.setattr("core.plaid.client.BACKOFF", wait_none())
    monkeypatch.setattr("core.sync.pages.RESTART_SECONDS", 0)


@pytest.fixture
async def world(resources, bank_url):
    async with httpx.AsyncClient(base_url=bank_url, timeout=60) as http:
        opened = World(resources, http)
        yield opened
        # The simulator is the next test's as well.
        await opened.control("faults/clear")
        opened.outbox.close()


@pytest.fixture
async def item(world):
    (linked,) = await world.link(transactions=30)
    return linked


@pytest.fixture
def notice(world):
    """Receive a verified webhook; Plaid signs every one anew, unless it is told to sign it with the same `token`."""

    async def receive(item, code="SYNC_UPDATES_AVAILABLE", kind="TRANSACTIONS", token=None):
        body = {"webhook_type": kind, "webhook_code": code, "item_id": item.plaid_item_id}
        signed = token or str(len(receive.all)).encode()
        receive.all.append(signed)
        proof = VerifiedWebhook(datetime(2026, 5, 2, tzinfo=UTC), hashlib.sha256(signed).hexdigest())
        inbox = Inbox(world.resources)
        is_new = await inbox.receive(json.dumps(body).encode(), proof)
        await inbox.idle()
        return is_new

    receive.all = []
    return receive
