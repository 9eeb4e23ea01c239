"""Simulator, webhooks, beat, kills and time in any order against the real engine: the ledger is equal in the end.

The suite takes the same few choices each time, so that whoever changes the engine sees what he did, not luck.
`MACHINE_EXAMPLES=500 make test ARGS="tests/machine/test_machine.py -n 0 --timeout 0"` looks further, with others at
each run, and then makes a failure small.
"""

import os

import pytest
from hypothesis import Phase

from tests.machine.search import ONLY_GENERATE, open_machine, run

LONG = "MACHINE_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "8"))


@pytest.fixture
def machine(settings, tmp_path, monkeypatch):
    with open_machine(settings, monkeypatch, tmp_path / "log") as opened:
        yield opened


@pytest.mark.timeout(600)
def test_whatever_happens_in_whatever_order_the_ledger_is_equal_in_the_end(machine):
    run(machine, EXAMPLES, phases=set(Phase) if LONG else ONLY_GENERATE, print_blob=True, derandomize=not LONG)
