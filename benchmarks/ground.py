"""The ground that everybody is measured on: one durable PostgreSQL, one Valkey, and a stand-in for Plaid."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from redis import Redis
from sqlalchemy import make_url

from benchmarks.sql import execute, fetch_value
from benchmarks.work import Work
from devstack.servers import Servers, open_servers

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "bench_template"
REDIS_DATABASES = 500


@dataclass(frozen=True, slots=True)
class Place:
    """What one run has for itself: an empty, migrated database and an empty Redis database."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)


@dataclass(slots=True)
class Ground:
    """The servers with their process ids."""

    servers: Servers = field(repr=False)
    postgres_pid: int
    valkey_pid: int
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def database_url(self, name: str) -> str:
        """Return the address of a database of this server."""
        return make_url(self.servers.database_url).set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Make a run's databases and remove them afterwards."""
        number = next(self._numbers)
        execute(self.servers.database_url, f"CREATE DATABASE bench_{number} TEMPLATE {TEMPLATE}")
        redis_url = make_url(self.servers.redis_url).set(database=str(number % REDIS_DATABASES))
        address = redis_url.render_as_string(hide_password=False)
        with Redis.from_url(address) as redis:
            redis.flushdb()
        yield Place(self.database_url(f"bench_{number}"), address)
        execute(self.servers.database_url, f"DROP DATABASE bench_{number} WITH (FORCE)")

    def settle(self) -> None:
        """Write out what earlier runs left, so that nobody pays for a neighbour."""
        execute(self.servers.database_url, "CHECKPOINT")


@dataclass(frozen=True, slots=True)
class Plaid:
    """A running stand-in and what it serves."""

    work: Work
    url: str
    pid: int


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Start both servers, durable as in production, and make the migrated template; all of it ends at the end."""
    with open_servers(durable=True) as servers:
        first_line = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"
        with Redis.from_url(servers.redis_url) as redis:
            valkey = int(redis.info("server")["process_id"])
        ground = Ground(servers, int(fetch_value(servers.database_url, first_line)), valkey)
        execute(servers.database_url, f"CREATE DATABASE {TEMPLATE}")
        environment = {**os.environ, "DATABASE_URL": ground.database_url(TEMPLATE), "MANNA_ENVIRONMENT": "test"}
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], env=environment, cwd=ROOT, check=True)
        yield ground


@contextmanager
def open_plaid(work: Work, latency_ms: int) -> Iterator[Plaid]:
    """Start the stand-in with its answers ready."""
    given = (work.items, work.history, work.rounds, latency_ms)
    argv = [sys.executable, "-m", "benchmarks.plaid_server", *map(str, given)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the stand-in has no pipes")
        try:
            yield Plaid(work, process.stdout.readline().split()[0], process.pid)
        finally:
            process.stdin.close()
