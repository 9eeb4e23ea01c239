"""`manna syncs`, as an operator types it."""

import json
import os
import subprocess
import sys

import pytest

from core.sync.replay import advance
from tests.conftest import ROOT


def manna(*arguments):
    command = [sys.executable, "-m", "cli", "syncs", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


async def test_from_a_failure_to_its_replay(fleet, resources):
    item_ids = await fleet.add(2)
    await fleet.fail(item_ids)
    (run_id,) = (await fleet.all("SELECT id FROM sync_runs WHERE item_id = :id", id=item_ids[0]))[0]

    shown = manna("show", str(run_id))
    assert "What happened: Plaid or our own set-up refuses this" in shown.stdout
    assert "By itself:     It is tried again by itself. Next try: " in shown.stdout
    assert json.loads(manna("show", str(run_id), "--json").stdout)["explanation"]["retry"].startswith("It is tried")

    assert "2 Items would be replayed; nothing was done" in manna("replay", "--status", "active", "--dry-run").stdout
    asked = manna("replay", "--error-code", "INVALID_FIELD", "--rate", "9000/min")
    assert asked.returncode == 0, asked.stderr
    assert "running: 2 Items at 9000/min" in asked.stdout
    assert "asked for already" in manna("replay", "--error-code", "INVALID_FIELD").stdout

    await advance(resources)
    await fleet.succeed(item_ids[:1])
    await fleet.fail(item_ids[1:])
    await advance(resources)
    (found,) = json.loads(manna("replays", "--json").stdout)
    assert (found["status"], found["succeeded"], found["failed"]) == ("finished", 1, 1)
    waited = manna("replay", "--resume", found["id"], "--wait")
    assert waited.returncode == 1
    assert "succeeded 1 failed 1 INVALID_FIELD=1" in waited.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("replay",), 2, "give ids or a filter"),
        (("replay", "--status", "error", "--rate", "fast"), 2, "accepted is a number a minute"),
        (("replay", "--error-code", "NO_SUCH_CODE"), 1, "no failing Item fits (error_code=NO_SUCH_CODE)"),
    ],
)
def test_what_is_wrong_is_told_in_words(settings, arguments, code, said):
    refused = manna(*arguments)
    assert refused.returncode == code
    assert said in " ".join(refused.stderr.replace("│", "").split())
