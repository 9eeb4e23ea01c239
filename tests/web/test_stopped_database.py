"""A database that neither answers nor refuses: its every process is stopped, on a server of the test's own."""

import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

from core.settings import load_settings
from devstack.places import make_directory
from devstack.postgres import Postgres
from devstack.processes import open_supervisor
from tests.conftest import ROOT
from tests.web.conftest import opened
from web import probes


@pytest.fixture
def postgres(web_settings, monkeypatch):
    """A server that a test may stop, and the application's database for as long."""
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        server = Postgres(supervisor, directory, durable=False)
        server.prepare()
        server.start()
        server.create_database()
        monkeypatch.setenv("DATABASE_URL", server.url)
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, check=True)
        yield server


def processes(server):
    """The server's first process and all that it has begun."""
    noted = (server.directory / "postgres" / "data" / "postmaster.pid").read_text()
    first = psutil.Process(int(noted.split()[0]))
    return [first, *first.children()]


@contextmanager
def stopped(server):
    # The first one first: it begins no other.
    first, *begun = processes(server)
    first.suspend()
    for process in begun:
        process.suspend()
    try:
        yield
    finally:
        for process in (first, *begun):
            process.resume()


async def test_health_answers_while_the_database_is_stopped_and_sees_it_come_back(postgres, monkeypatch):
    monkeypatch.setattr(probes, "FRESH_SECONDS", 0)
    async with opened(load_settings()) as client:
        looked_at = client.app.state.services.probes
        assert (await looked_at.find("database", patience=30))["database"].state == "ok"
        with stopped(postgres):
            for _ in range(3):
                told = (await client.get("/health")).json()
                assert (told["status"], told["parts"]["database"]) == ("unhealthy", "hanging")
                assert (await client.get("/health/ready")).status_code == 503
                assert (await client.get("/health/live")).json() == {"status": "alive"}
        assert (await looked_at.find("database", patience=30))["database"].state == "ok"
