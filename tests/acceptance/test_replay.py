"""An operator's morning: a wrong key was deployed, Items failed; mended, they are replayed through the queue."""

import json
import os
import re
import subprocess
import sys

import httpx

from core.encryption import EncryptionKeyProvider
from devstack.processes import open_supervisor
from tests.conftest import ROOT

CELERY = [sys.executable, "-m", "celery", "-A", "worker"]
QUEUES = "sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance"


def manna(*arguments, given="", code=0):
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def start(supervisor, name, argv, log, word, env=None):  # noqa: PLR0917 - what a process needs
    supervisor.start(name, argv, log=log, env=env)
    supervisor.wait_ready(name, lambda: word in log.read_text())
    return log.read_text()


def test_what_a_wrong_key_broke_is_replayed_after_it_is_mended(settings, tmp_path, monkeypatch):
    worker = [*CELERY, "worker", "-Q", QUEUES, "--without-gossip", "--without-mingle"]
    with open_supervisor() as supervisor:
        said = start(supervisor, "simulator", [sys.executable, "-m", "simulator"], tmp_path / "simulator", "listening")
        simulator = re.search(r"http://\S+", said)[0]
        monkeypatch.setenv("PLAID_BASE_URL", simulator)
        asked = {"count": 5, "transactions": 20}
        linked = httpx.post(f"{simulator}/control/items", json=asked, timeout=60).json()["items"]
        lines = [
            json.dumps({"user_id": "u", "plaid_item_id": one["item_id"], "access_token": one["access_token"]})
            for one in linked
        ]
        manna("items", "import", "-", given="\n".join(lines))

        wrong = {**os.environ, "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key()}
        start(supervisor, "wrong", worker, tmp_path / "wrong", "ready", env=wrong)
        manna("items", "sync", "--all")
        supervisor.wait_ready("wrong", lambda: (tmp_path / "wrong").read_text().count("sync_done") == 5)
        supervisor.stop("wrong")
        assert manna("syncs", "list", "--status", "failed", "--json").count("DECRYPTION_FAILED") == 5

        start(supervisor, "worker", worker, tmp_path / "worker", "ready")
        beat = [*CELERY, "beat", "-s", str(tmp_path / "schedule")]
        start(supervisor, "beat", beat, tmp_path / "beat", "beat: Starting")
        replayed = manna("syncs", "replay", "--error-code", "DECRYPTION_FAILED", "--rate", "6000/min", "--wait")
        assert replayed.splitlines()[-1].startswith("waiting 0 sent 0 succeeded 5 failed 0")
    assert manna("items", "list", "--json").count('"active"') == 5
