"""Real servers, started once for the whole run; a database and a Redis database of its own for each test."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy import make_url

from core.encryption import EncryptionKeyProvider
from core.resources import Resources, open_resources
from core.settings import Settings, load_settings
from devstack.servers import open_servers

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "manna_template"
SERVERS = pytest.StashKey[ExitStack]()
ADDRESSES = pytest.StashKey["Addresses"]()
# A Redis as it comes has sixteen: enough for `-n 4`, and a test's is emptied before its next use.
DATABASES_A_WORKER = 3


@dataclass(frozen=True)
class Addresses:
    """Where this run's servers are."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)

    def database(self, name: str) -> str:
        """Return the address of another database of the same server."""
        return make_url(self.database_url).set(database=name).render_as_string(hide_password=False)

    def redis(self, number: int) -> str:
        """Return the address of another database of the same Redis."""
        return make_url(self.redis_url).set(database=str(number)).render_as_string(hide_password=False)


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers where the run is started; xdist's workers are told where they are."""
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[ADDRESSES] = Addresses(given["database_url"], given["redis_url"])
        return
    if config.option.collectonly:
        return
    stack = config.stash[SERVERS] = ExitStack()
    servers = stack.enter_context(open_servers(durable=False))
    addresses = config.stash[ADDRESSES] = Addresses(servers.database_url, servers.redis_url)
    _make_template(addresses)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs something that this machine lacks (README, "Tests"); CI has all of it."""
    missing = [item for item in items if (mark := item.get_closest_marker("extras")) and not _is_here(mark.args[0])]
    if missing:
        items[:] = [item for item in items if item not in missing]
        config.hook.pytest_deselected(items=missing)


def _is_here(wanted: str) -> bool:
    """Tell whether a program is installed, or a folder that the README says how to fill."""
    return shutil.which(wanted) is not None or ("/" in wanted and (ROOT / wanted).exists())


def pytest_configure_node(node: object) -> None:
    """Tell an xdist worker the servers' addresses."""
    addresses = node.config.stash[ADDRESSES]  # type: ignore[attr-defined]
    node.workerinput |= {  # type: ignore[attr-defined]
        "database_url": addresses.database_url,
        "redis_url": addresses.redis_url,
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers with the run."""
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


def _make_template(addresses: Addresses) -> None:
    env = {**os.environ, "DATABASE_URL": addresses.database(TEMPLATE), "MANNA_ENVIRONMENT": "test"}
    for statement in (f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}"):
        _execute(addresses.database_url, statement)
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], env=env, cwd=ROOT, check=True)


def _execute(url: str, statement: str) -> None:
    import asyncio  # noqa: PLC0415 - only here is there no loop yet

    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


@pytest.fixture(scope="session")
def addresses(request: pytest.FixtureRequest) -> Addresses:
    """This run's servers."""
    return request.config.stash[ADDRESSES]


@pytest.fixture
async def database_url(addresses: Addresses) -> AsyncIterator[str]:
    """An empty, migrated database of the test's own."""
    name = f"t_{uuid4().hex}"
    admin = await asyncpg.connect(addresses.database_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield addresses.database(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture(scope="session")
def redis_numbers(worker_id: str) -> Iterator[int]:
    """Redis databases that no other worker uses."""
    worker = 0 if worker_id == "master" else int(worker_id.removeprefix("gw")) + 1
    return (1 + worker * DATABASES_A_WORKER + number % DATABASES_A_WORKER for number in count())


@pytest.fixture
async def redis_url(addresses: Addresses, redis_numbers: Iterator[int]) -> str:
    """An empty Redis database of the test's own."""
    url = addresses.redis(next(redis_numbers))
    async with Redis.from_url(url) as redis:
        await redis.flushdb()
    return url


@pytest.fixture
def settings(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a process on the test's own databases."""
    given = {
        "MANNA_ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
        "PLAID_CLIENT_ID": "sandbox-client",
        "PLAID_SECRET": "sandbox-secret",
        "DATABASE_POOL_SIZE": "5",
        # The simulator has limits only where a test sets some.
        "PLAID_RATE_PER_ITEM_PER_MINUTE": "1000000",
        "PLAID_RATE_PER_CLIENT_PER_MINUTE": "1000000",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
async def resources(settings: Settings) -> AsyncIterator[Resources]:
    """An opened process."""
    async with open_resources(settings) as opened:
        yield opened
