"""What a worker says that may not start."""

import os
import subprocess

from devstack.stack import CELERY, QUIET
from tests.conftest import ROOT


def last_word_of_a_worker():
    """Start one that ends at once, without a traceback; its last line."""
    command = [*CELERY, "worker", "-Q", "maintenance", *QUIET]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.splitlines()[-1]
