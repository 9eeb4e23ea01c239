"""The search finds each break of the engine by itself, and nothing in the whole engine.

The suite looks for those that take a few runs. All of them, each with up to 150 runs, and a table of what said so:
`MACHINE_BREAKS=150 make test ARGS="tests/machine/test_the_search_finds.py -n 0 --timeout 0"`
"""

import os
import sys

import pytest

from tests.machine import breaks
from tests.machine.search import open_machine, search

ALL = "MACHINE_BREAKS" in os.environ
RUNS = int(os.environ.get("MACHINE_BREAKS", "40"))
SEED = int(os.environ.get("MACHINE_SEED", "1"))
QUICK = [breaks.cursor_of_the_first_page_stored, breaks.no_version_check, breaks.lease_not_taken]


@pytest.fixture
def machine(settings, tmp_path, monkeypatch):
    with open_machine(settings, monkeypatch, tmp_path / "log") as opened:
        yield opened
    breaks.forget_statements()


@pytest.fixture
def tell(capsys):
    """Write a line of the table at once, when all breaks are looked for."""

    def line(name, found):
        row = "nothing" if found is None else f"{found.runs:4} {found.seconds:6.1f} s  {found.words:.90}"
        with capsys.disabled():
            sys.stdout.write(f"{name:40} {row}\n" if ALL else "")

    return line


@pytest.mark.timeout(600)
@pytest.mark.parametrize("damage", breaks.BREAKS if ALL else QUICK)
def test_the_search_finds(machine, monkeypatch, tell, damage):
    damage(monkeypatch)
    found = search(machine, RUNS, SEED)
    tell(damage.__name__, found)
    assert found, f"nothing was found in {RUNS} runs"


@pytest.mark.timeout(600)
def test_the_search_finds_nothing_in_the_whole_engine(machine, tell):
    found = search(machine, RUNS if ALL else 3, SEED)
    tell("(none)", found)
    assert found is None
