"""An operator in front of the console, on the test's own servers."""

import html
import re
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from core.access.scopes import Scope
from core.access.sessions import open_session
from core.access.tokens import verify_token
from core.items.registration import NewItem, register_items
from tests.web import conftest as front_door

# The front door's own fixtures.
bearer, client, web_settings = front_door.bearer, front_door.client, front_door.web_settings

LogIn = Callable[..., Awaitable[None]]


def resources_of(client):
    return client.app.state.services.resources


async def rows(client, statement, **values):
    async with resources_of(client).database.connection() as connection:
        found = await connection.execute(text(statement), values)
        return [dict(row._mapping) for row in found] if found.returns_rows else []


async def register(client, *new):
    return await register_items(resources_of(client).database, list(new), "operator:test")


def new_item(number, bank="ins_1", user=None):
    return NewItem(user or f"u{number}", f"itm{number}", "access-sandbox-1", bank)


def csrf_of(page):
    return re.search(r'name="csrf" value="([^"]+)"', page.text)[1]


def text_of(page):
    """Return what a page says, without its marks."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.text)))


@pytest.fixture
def token_for(bearer):
    def make(*scopes, subject="ops", **given):
        return bearer(*scopes, subject=subject, **given)["Authorization"].removeprefix("Bearer ")

    return make


@pytest.fixture
def log_in(client, token_for) -> LogIn:
    async def act(*scopes, subject="ops", **given):
        client.cookies.clear()
        token = token_for(*(scopes or tuple(Scope)), subject=subject, **given)
        answer = await client.post("/console/login", data={"token": token, "next": "/console"})
        assert answer.status_code == 303, answer.text

    return act


@pytest.fixture
def enter(client, token_for):
    """Open a session past the log-in page and its rate limit."""

    async def act(*scopes, subject="ops", **given):
        token = token_for(*scopes, subject=subject, **given)
        principal = verify_token(client.app.state.services.signing_keys(), token)
        word, _ = await open_session(resources_of(client).redis, principal, token)
        client.cookies.set("manna-console", word)

    return act


@pytest.fixture
async def operator(client, log_in):
    """A client that is logged in with every scope."""
    await log_in()
    return client


@pytest.fixture
def press(client):
    """Send a form as the page that shows it would."""

    async def act(page, path, **fields):
        shown = await client.get(page)
        return await client.post(path, data={"csrf": csrf_of(shown), **fields})

    return act
