"""Whatever happens to the parent, nothing that it started is left."""

import signal
import subprocess
import sys
from functools import partial

import psutil
import pytest

from tests.conftest import ROOT

PARENT = """
import sys
from devstack.servers import open_servers
with open_servers(durable=True) as servers:
    print(servers.directory, servers.postgres.port, servers.valkey.port, flush=True)
    sys.stdin.read()
"""
GONE_SECONDS = 30


def start_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        # A suite in the background has Ctrl-C ignored, and would hand that on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        env={"PATH": "/usr/bin:/bin"},
    )
    directory = parent.stdout.readline().split()[0]
    return parent, directory, psutil.Process(parent.pid).children(recursive=True)


@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_file_is_left(end, tmp_path):
    parent, directory, children = start_parent()
    assert len(children) >= 3
    if end is None:
        parent.stdin.close()
    else:
        parent.send_signal(end)
    parent.wait(GONE_SECONDS)
    _, alive = psutil.wait_procs(children, timeout=GONE_SECONDS)
    assert alive == []
    leftovers = subprocess.run(["/bin/ls", directory], capture_output=True, check=False)
    assert leftovers.returncode != 0
    parent.stdin.close()
    parent.stdout.close()


def test_passwords_are_not_in_the_repr():
    from devstack.servers import open_servers  # noqa: PLC0415 - next to its use

    with open_servers(durable=False) as servers:
        assert servers.database_url.split(":")[2].split("@")[0] not in repr(servers)
        assert servers.redis_url.split(":")[2].split("@")[0] not in repr(servers)
