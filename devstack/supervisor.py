"""Starts processes for its parent and ends them when the parent is gone, however it went.

Run as `python -m devstack.supervisor`: one JSON command a line on its standard input, one JSON answer a line on
its standard output. Only the parent holds the other end of that input, so that its death, by kill -9 as well, is
the end of the input here: then every process is stopped, last started first, and the directories are removed.
It is the leader of a session of its own, which a Ctrl-C at the parent's terminal does not reach.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


class Children:
    """The processes and directories that this supervisor answers for."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], Answer]] = {}
        self._directories: list[str] = []

    def start(self, command: Answer) -> Answer:
        """Start a process in a session of its own, under another user if asked to."""
        user = {"user": command["uid"], "group": command["gid"], "extra_groups": []} if command.get("uid") else {}
        with Path(command["log"]).open("ab") as log:
            process = subprocess.Popen(
                command["argv"],
                env=command["env"],
                cwd=command["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **user,
            )
        self._running[command["name"]] = (process, command)
        return {"pid": process.pid}

    def poll(self, command: Answer) -> Answer:
        """Tell a process's exit code, null while it runs."""
        process, _ = self._running[command["name"]]
        return {"code": process.poll()}

    def stop(self, command: Answer) -> Answer:
        """Stop a process: its own polite signal first, then, after its time, kill."""
        process, started = self._running.pop(command["name"])
        if process.poll() is None:
            process.send_signal(command.get("signal") or started["stop_signal"])
            try:
                process.wait(started["stop_seconds"])
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # Whatever it has forked in its session goes with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return {"code": process.returncode}

    def own(self, command: Answer) -> Answer:
        """Take over a directory, to be removed at the end."""
        self._directories.append(command["directory"])
        return {}

    def end(self) -> None:
        """Stop everything, last started first, and remove the directories."""
        for name in reversed(list(self._running)):
            self.stop({"name": name})
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """Obey until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children = Children()
    operations = {"start": children.start, "poll": children.poll, "stop": children.stop, "own": children.own}
    try:
        for line in sys.stdin:
            command = json.loads(line)
            try:
                answer = operations[command["op"]](command)
            except (OSError, KeyError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            with suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
    finally:
        children.end()


if __name__ == "__main__":
    main()
