"""`manna up` as a person runs it: a process of its own, read until it says that it is ready."""

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from tests.conftest import ROOT

GONE_SECONDS = 60
READY = "Ctrl-C ends it all"


@dataclass(frozen=True)
class Running:
    """A stack that is up: what it said, the file that others find it by, and every process that belongs to it."""

    process: subprocess.Popen
    said: str
    state: Path
    children: list[psutil.Process]

    def address(self, name):
        return re.search(rf"^ +{name} +(http\S+)$", self.said, re.MULTILINE)[1]

    def interrupt(self):
        """Press Ctrl-C and wait until the process has ended; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(GONE_SECONDS)


@contextmanager
def running_up(env, *arguments):
    command = [sys.executable, "-m", "cli", "up", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # A suite in the background has Ctrl-C ignored, and would hand that on.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=ROOT, env=env, preexec_fn=hears, **pipes) as process:  # noqa: PLW1509 - no threads here
        try:
            said = ""
            while READY not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            state = Path(re.search(r"\. (\S+stack\.env);", said)[1])
            yield Running(process, said, state, psutil.Process(process.pid).children(recursive=True))
        finally:
            if process.poll() is None:
                process.kill()


def still_alive(processes):
    """Wait for processes to end, and return those that do not."""
    _, alive = psutil.wait_procs(processes, timeout=GONE_SECONDS)
    return alive
