"""A PostgreSQL for one test, where what belongs to the whole server, as roles do, is nobody else's."""

from collections.abc import Iterator
from contextlib import contextmanager

from devstack.places import make_directory
from devstack.postgres import Postgres
from devstack.processes import open_supervisor


@contextmanager
def open_postgres() -> Iterator[Postgres]:
    """Start a server with an empty database, and remove both at the end."""
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        postgres = Postgres(supervisor, directory, durable=False)
        postgres.prepare()
        postgres.start()
        postgres.create_database()
        yield postgres
