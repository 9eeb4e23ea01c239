"""`make demo` with few Items, as a normal user: PostgreSQL refuses root, and most people are not root."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.places import OPEN_TO_ALL, server_user
from tests.conftest import ROOT

DEMO = [sys.executable, "-m", "cli", "demo", "--items", "3", "--transactions", "40"]


def as_normal_user():
    """How to start a process that is not root: plainly when we are not, else under the user that servers run under.

    Where that user cannot get to the interpreter, below /root say, it keeps the one right to read what it could not;
    it stays unable to write, to own or to be root, which is what the demo has to do without.
    """
    user = server_user()
    if user is None:
        return [], {}
    uid, gid = user
    places = (Path(os.path.realpath(sys.executable)), Path(sys.executable), ROOT)
    parents = {parent for place in places for parent in place.parents}
    if all(parent.stat().st_mode & OPEN_TO_ALL == OPEN_TO_ALL for parent in parents):
        return [], {"user": uid, "group": gid, "extra_groups": []}
    right = "+dac_read_search"
    setpriv = [shutil.which("setpriv") or "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    return [*setpriv, f"--inh-caps={right}", f"--ambient-caps={right}"], {}


def run_as_normal_user(command, env):
    prefix, identity = as_normal_user()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run([*prefix, *command], cwd=ROOT, env=env, check=False, **pipes, **identity)


def test_the_process_is_really_not_root():
    asked = run_as_normal_user([sys.executable, "-c", "import os; print(os.geteuid())"], dict(os.environ))
    assert int(asked.stdout) != 0


def test_the_demo_tells_its_story_and_ends_well(monkeypatch):
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    done = run_as_normal_user(DEMO, {**os.environ, "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    for part in (
        "3 of 3 Items synced after their webhook",
        "items 3 transactions 120",
        "webhook to commit p50",
        ": 0 differences",
        "audit chain verified",
    ):
        assert part in said
    assert re.search(r"commits (\d+), with \1 audit events, \1 of them distinct", said)
