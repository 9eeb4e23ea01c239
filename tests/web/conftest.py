"""The application on the test's own servers, asked in this process."""

import secrets
from contextlib import asynccontextmanager

import httpx
import pytest

from core.access.scopes import Scope
from core.access.signing_keys import load_signing_keys
from core.access.tokens import issue_token
from core.items.registration import NewItem, register_items
from core.settings import load_settings
from tests.simulator.conftest import api, server, simulator  # noqa: F401 - fixtures of the simulator
from web.app import make_app


@pytest.fixture
def web_settings(settings, monkeypatch):
    """Settings with a signing key, and the address that webhooks are sent to."""
    monkeypatch.setenv("JWT_SIGNING_KEY", secrets.token_urlsafe(32))
    monkeypatch.setenv("PUBLIC_URL", "https://manna.example")
    return load_settings()


@asynccontextmanager
async def opened(settings):
    """Open the application of settings and a client that asks it."""
    app = make_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("198.51.100.7", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            client.app = app
            yield client


@pytest.fixture
async def client(web_settings):
    """A client of the running application."""
    async with opened(web_settings) as client:
        yield client


@pytest.fixture
def bearer(web_settings):
    """Make the headers of a token with scopes; without any, with all of them."""

    def make(*scopes, subject="ops", ttl=600, now=None):
        token, _ = issue_token(load_signing_keys(), subject, scopes or tuple(Scope), ttl, now)
        return {"Authorization": f"Bearer {token}"}

    return make


@pytest.fixture
async def item_id(client):
    """A registered Item."""
    database = client.app.state.services.resources.database
    (registered,) = await register_items(database, [NewItem("u1", "itm1", "access-sandbox-1")], "operator:test")
    return registered
