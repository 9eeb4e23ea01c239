"""PostgreSQL and Redis for as long as they are needed: our own, or those that the environment names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devstack.places import make_directory
from devstack.postgres import Postgres
from devstack.processes import Supervisor, open_supervisor
from devstack.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses, with passwords; the supervisor for whatever else shall end with them; a directory for logs."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    supervisor: Supervisor
    directory: Path
    postgres: Postgres | None = None
    valkey: Valkey | None = None


@contextmanager
def open_servers(*, durable: bool) -> Iterator[Servers]:
    """Start both servers, each unless `DATABASE_URL` or `REDIS_URL` replaces it, and end them at the end.

    Args:
        durable: whether what was committed lives through a crash; tests do without, for speed.

    Raises:
        StackError: a server did not start.
    """
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
        postgres = valkey = None
        if not redis_url:
            valkey = Valkey(supervisor, directory, durable)
            valkey.start()
        if not database_url:
            postgres = Postgres(supervisor, directory, durable)
            postgres.prepare()
            postgres.start()
            postgres.create_database()
        yield Servers(
            database_url or (postgres.url if postgres else ""),
            redis_url or (valkey.url if valkey else ""),
            supervisor,
            directory,
            postgres,
            valkey,
        )
