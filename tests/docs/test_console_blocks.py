import os
import re
import secrets
import sys
from pathlib import Path

import pytest

from devstack.places import answers, free_port
from devstack.processes import open_supervisor
from tests.conftest import ROOT
from tests.docs.console import differences, steps

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if list(steps(page.read_text("utf-8"))))


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
def environment(settings, simulator):
    """What a reader's terminal has: the service's settings, and its commands in the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PLAID_BASE_URL": simulator,
        "ALEMBIC_CONFIG": f"{ROOT}/alembic.ini",
    }
    return {**os.environ, **given, "JWT_SIGNING_KEY": secrets.token_urlsafe(48)}


def start_web(supervisor, environment, log):
    """Serve the API for the pages that speak to it, and return its address."""
    port = free_port()
    command = [sys.executable, "-m", "cli", "web", "--port", str(port)]
    supervisor.start("web", command, log=log, env=environment)
    supervisor.wait_ready("web", lambda: answers(port))
    return f"http://127.0.0.1:{port}"


@pytest.mark.timeout(300)  # a page is a dozen processes, and the machine may be busy
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_page_s_commands_do_what_it_says(page, supervisor, environment, tmp_path):
    text = page.read_text("utf-8")
    if "$MANNA_URL" in text:
        environment["MANNA_URL"] = start_web(supervisor, environment, tmp_path / "web.log")
    folder = tmp_path / "here"
    folder.mkdir()
    assert differences(text, folder, environment) == []


def test_the_tutorial_is_among_the_pages_that_are_run():
    assert DOCS / "tutorial" / "first-sync.md" in PAGES


@pytest.mark.parametrize(
    ("block", "is_as_told"),
    [
        ("$ echo one\none", True),
        ("$ echo one\ntwo", False),
        ("$ echo one two\none …", True),
        ("$ printf 'a\\nb\\nc\\n'\na\n...", True),
        ("$ printf 'a\\nb\\n'\na", False),
        ("$ echo 'a\n> b'\na\nb", True),
        ("$ false", False),
        ("$ N=1\n$ echo $N\n1", True),
    ],
)
def test_the_runner_itself_tells_right_from_wrong(block, is_as_told, tmp_path):
    assert (differences(f"```console\n{block}\n```\n", tmp_path, os.environ) == []) is is_as_told
