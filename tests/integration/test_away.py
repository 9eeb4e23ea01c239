"""Whoever needs a server that is away waits where it stands, with all others, and goes on once it answers."""

import asyncio
import errno

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from core import away
from core.away import Outage, is_database_away, is_redis_away
from core.database import open_database
from core.sync.away import patient
from devstack.places import free_port


class Server:
    """One that is away for some pings, and a step that needs it."""

    def __init__(self, away_for):
        self.left = away_for
        self.steps = 0

    async def ping(self):
        self.left -= 1
        if self.left > 0:
            raise RedisConnectionError("Error 111 connecting")

    async def step(self):
        self.steps += 1
        if self.left > 0:
            raise RedisConnectionError("Error 111 connecting")
        return self.steps


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(away, "ASK_SECONDS", 0.001)
    monkeypatch.setattr(away, "SPREAD_SECONDS", 0.001)


async def test_all_who_miss_it_wait_together_and_one_line_tells(hurried):
    server = Server(away_for=5)
    outage = Outage("REDIS_AWAY", server.ping, is_redis_away)
    with capture_logs() as lines:
        await asyncio.gather(*(outage.waited_out(server.step) for _ in range(20)))
    assert [(line["event"], line["code"]) for line in lines] == [
        ("server_away", "REDIS_AWAY"),
        ("server_back", "REDIS_AWAY"),
    ]
    # Each tried once while it was away and once afterwards; nobody asked on his own meanwhile.
    assert server.steps == 40
    assert server.left == 0


async def test_one_that_stays_away_is_not_waited_for_for_ever(hurried, monkeypatch):
    monkeypatch.setattr(away, "PATIENCE_SECONDS", 0.05)
    server = Server(away_for=10**9)
    outage = Outage("REDIS_AWAY", server.ping, is_redis_away)
    with pytest.raises(RedisConnectionError):
        await outage.waited_out(server.step)
    # Whoever comes now is not kept for as long again: a batch is tried one by one, and there may be hundreds.
    tried = server.steps
    monkeypatch.setattr(away, "ASK_SECONDS", 3600)
    for _ in range(100):
        with pytest.raises(RedisConnectionError):
            await outage.waited_out(server.step)
    assert server.steps == tried + 100
    server.left = 0
    assert await outage.waited_out(server.step) == tried + 101


async def test_what_is_wrong_with_the_question_is_told_at_once():
    server = Server(away_for=0)

    async def wrong():
        server.steps += 1
        raise ResponseError("unknown command")

    with pytest.raises(ResponseError):
        await Outage("REDIS_AWAY", server.ping, is_redis_away).waited_out(wrong)
    assert server.steps == 1


async def test_a_step_goes_on_after_postgresql_ended_its_session(resources, settings, hurried):
    told = []
    admin = await asyncpg.connect(settings.database_url)

    @patient
    async def step(database):
        async with database.connection() as connection:
            if not told:
                pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                await admin.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            told.append("tried")
            return (await connection.execute(text("SELECT 1"))).scalar_one()

    assert await step(resources.database) == 1
    assert told == ["tried", "tried"]
    await admin.close()


async def test_a_statement_that_postgresql_refuses_is_not_an_outage(resources):
    with pytest.raises(DBAPIError) as caught:
        async with resources.database.connection() as connection:
            await connection.execute(text("SELECT 1 / 0"))
    assert not is_database_away(caught.value)


async def test_nobody_listening_is_an_outage_and_a_full_disk_is_none(settings):
    nowhere = f"postgresql://u:p@127.0.0.1:{free_port()}/manna"
    database = open_database(settings, nowhere)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which class it is depends on the system
        await database.ping()
    await database.close()
    assert is_database_away(caught.value)
    assert not is_database_away(OSError(errno.ENOSPC, "No space left on device"))
    async with Redis(port=free_port(), retry=None) as redis:
        with pytest.raises(RedisConnectionError) as missed:
            await redis.ping()
    assert is_redis_away(missed.value)
