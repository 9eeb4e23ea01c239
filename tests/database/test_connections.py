"""The pool's health, the time-outs, and the password that changes while the service runs."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from core import database as database_module
from core.database import open_database
from core.settings import load_settings

PID = text("SELECT pg_backend_pid()")


@pytest.fixture
async def admin(database_url):
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def role(admin):
    name = f"r_{(await admin.fetchval('SELECT gen_random_uuid()')).hex}"
    await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'first'")
    yield name
    await admin.execute(f"DROP ROLE {name}")


async def test_a_connection_that_died_while_idle_is_not_handed_out(settings, admin, monkeypatch):
    monkeypatch.setattr(database_module.ping_idle_connections, "__defaults__", (0.0,))
    database = open_database(settings, settings.database_url)
    async with database.connection() as connection:
        pid = await connection.scalar(PID)
    assert await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    async with database.connection() as connection:
        assert await connection.scalar(PID) != pid
    await database.close()


async def test_the_time_outs_hold(settings):
    database = open_database(settings, settings.database_url)
    async with database.connection() as connection:
        for name, value in {"statement_timeout": "30s", "lock_timeout": "10s", "TimeZone": "UTC"}.items():
            assert await connection.scalar(text(f"SHOW {name}")) == value
        assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"
    await database.close()


async def test_a_password_altered_under_way_fails_nothing(database_url, admin, role, monkeypatch):
    """Half of the rotations change the server first, half the secret first; each task needs new connections."""
    url = make_url(database_url).set(username=role, password="first")
    secret = {"password": "first"}
    settings = load_settings(database_pool_size=2)
    database = open_database(settings, url.render_as_string(hide_password=False), lambda: secret["password"])

    async def task():
        async with database.connection() as connection:
            await connection.execute(PID)

    async def rotate(number):
        changes = [
            lambda: admin.execute(f"ALTER ROLE {role} PASSWORD 'number-{number}'"),
            lambda: asyncio.to_thread(lambda: secret.update(password=f"number-{number}")),
        ]
        first, second = changes if number % 2 else reversed(changes)
        # An empty pool: whoever comes now has to log in.
        await database.close()
        await first()
        under_way = [asyncio.create_task(task()) for _ in range(6)]
        await asyncio.sleep(0)
        await second()
        await asyncio.gather(*under_way)

    await task()
    for number in range(6):
        await rotate(number)
    await asyncio.gather(*(task() for _ in range(10)))
    await database.close()


async def test_a_wrong_password_at_start_fails_at_once(database_url, role):
    url = make_url(database_url).set(username=role, password="wrong").render_as_string(hide_password=False)
    asked = []
    database = open_database(load_settings(connect_timeout_seconds=100), url, lambda: asked.append(1) or "wrong")
    with pytest.raises((asyncpg.InvalidPasswordError, DBAPIError)):
        await database.ping()
    assert asked == [1]
    await database.close()
