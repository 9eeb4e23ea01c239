"""Somebody who follows a page: a terminal with the service's commands, a bank, and a folder of their own."""

import os
import re
import secrets
import sys
from pathlib import Path

import pytest

from devstack.processes import open_supervisor
from tests.conftest import ROOT
from tests.docs.readers import Reader
from tests.docs.warm import start_warm


@pytest.fixture(scope="session")
def warm():
    """A folder of programs that start at once."""
    with open_supervisor() as supervisor:
        yield start_warm(supervisor)


@pytest.fixture
def supervisor():
    with open_supervisor() as opened:
        yield opened


@pytest.fixture
def simulator(supervisor, tmp_path):
    """The address of a bank of the page's own."""
    log = tmp_path / "simulator.log"
    supervisor.start("simulator", [sys.executable, "-m", "simulator"], log=log)
    supervisor.wait_ready("simulator", lambda: "listening" in log.read_text())
    return re.search(r"http://\S+", log.read_text())[0]


@pytest.fixture
def environment(settings, simulator, warm):
    """What a reader's terminal has: the service's settings, and its commands in the path."""
    given = {
        "PATH": os.pathsep.join([str(warm), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PLAID_BASE_URL": simulator,
        "ALEMBIC_CONFIG": f"{ROOT}/alembic.ini",
    }
    return {**os.environ, **given, "JWT_SIGNING_KEY": secrets.token_urlsafe(48)}


@pytest.fixture
async def reader(supervisor, environment, simulator, monkeypatch, tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    reader = Reader(folder, environment, simulator, supervisor, monkeypatch.setenv)
    yield reader
    for ending in reader.endings:
        await ending()
