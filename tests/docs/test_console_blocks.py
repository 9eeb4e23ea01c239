import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.console import differences, steps

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if any(steps(page.read_text("utf-8"))))


@pytest.fixture
def simulator():
    """A bank of the page's own."""
    command = [sys.executable, "-u", "-m", "simulator"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
        process.terminate()


@pytest.fixture
def environment(settings, simulator):
    """What a reader's terminal has: the service's settings, and its commands in the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PLAID_BASE_URL": simulator}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_page_s_commands_do_what_it_says(page, environment, tmp_path):
    assert differences(page.read_text("utf-8"), tmp_path, environment) == []


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
