"""The parent's side of the supervisor: start, wait until ready, stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devstack.errors import StackError

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0
POLL_SECONDS = 0.02
TAIL_LINES = 5


class Supervisor:
    """Speaks to one supervisor process; closing it, or dying, ends everything that it started."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devstack.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._logs: dict[str, Path] = {}

    def start(  # noqa: PLR0913 - what a process needs, each by its name
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: tuple[int, int] | None = None,
        stop_signal: int = signal.SIGTERM,
        stop_seconds: float = 20.0,
        cwd: Path = ROOT,
    ) -> int:
        """Start a process and return its id; its output goes to `log`."""
        uid, gid = user or (None, None)
        command = {
            "name": name,
            "argv": list(argv),
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd),
            "uid": uid,
            "gid": gid,
            "log": str(log),
            "stop_signal": int(stop_signal),
            "stop_seconds": stop_seconds,
        }
        self._logs[name] = log
        pid: int = self._ask("start", **command)["pid"]
        return pid

    def stop(self, name: str, with_signal: int | None = None) -> None:
        """Stop a process and wait for its end; `with_signal` replaces its own polite one."""
        self._ask("stop", name=name, signal=with_signal)

    def own(self, directory: Path) -> None:
        """Have a directory removed when everything has ended."""
        self._ask("own", directory=str(directory))

    def exited(self, name: str) -> int | None:
        """Return a process's exit code, None while it runs."""
        code: int | None = self._ask("poll", name=name)["code"]
        return code

    def wait_ready(self, name: str, is_ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        """Return once `is_ready` says so.

        Raises:
            StackError: the process ended before, or took too long; its last lines are told.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if (code := self.exited(name)) is not None:
                raise StackError(f"{name} ended with code {code} instead of getting ready: {self.tail(name)}")
            if time.monotonic() > deadline:
                raise StackError(f"{name} was not ready after {seconds:.0f} s: {self.tail(name)}")
            time.sleep(POLL_SECONDS)

    def tail(self, name: str) -> str:
        """Return the last words of a process."""
        lines = self._logs[name].read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-TAIL_LINES:] if line.strip()) or "it said nothing"

    def close(self) -> None:
        """End everything and wait until it has ended."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _ask(self, op: str, **command: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise StackError("the supervisor has no pipes")
        with self._lock:
            try:
                stdin.write(json.dumps({"op": op, **command}) + "\n")
                stdin.flush()
                answer: dict[str, Any] = json.loads(stdout.readline() or '{"error": "the supervisor is gone"}')
            except (OSError, ValueError) as error:
                raise StackError(f"the supervisor is gone: {type(error).__name__}") from None
        if "error" in answer:
            raise StackError(f"{command.get('name', op)} could not be started or stopped: {answer['error']}")
        return answer


@contextmanager
def open_supervisor() -> Iterator[Supervisor]:
    """Open a supervisor, and at the end close it with everything that it started."""
    supervisor = Supervisor()
    try:
        yield supervisor
    finally:
        supervisor.close()
