"""`manna`, `alembic`, `celery` and `python -m scripts.…` without their two seconds of imports, for pages full of them.

Each call is the real program, with the caller's arguments, folder, environment and files, in a fork of a process that
has made the imports. The folder of these programs goes to the front of a reader's PATH.
"""

import json
import os
import runpy
import signal
import socket
import sys
import threading
from pathlib import Path

from devstack.places import make_directory
from tests.conftest import ROOT

CLIENT = Path(__file__).with_name("warm_client.py")
PROGRAMS = ("manna", "alembic", "celery", "python")


def start_warm(supervisor) -> Path:
    """Start the server, write a program for each name, and return their folder."""
    directory = make_directory()
    supervisor.own(directory)
    place, folder = directory / "calls", directory / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{CLIENT}" "{place}" {name} "$@"\n')
        program.chmod(0o755)
    log = directory / "warm.log"
    supervisor.start("warm", [sys.executable, "-m", "tests.docs.warm", str(place)], log=log, cwd=ROOT)
    supervisor.wait_ready("warm", lambda: "ready" in log.read_text())
    return folder


def serve(place: str) -> dict:
    """Take calls for ever; in a fork for each, return what it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
        os.write(1, b"ready\n")
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return fork_and_mind(connection)
            connection.close()


def fork_and_mind(connection: socket.socket) -> dict:
    """Return the call in a child; stay until the child has ended, pass signals on, and tell the caller its code."""
    length, files, *_ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        call = json.loads(stream.read(int(length)))
    child = os.fork()
    if child == 0:
        connection.close()
        return {**call, "files": files}
    for file in files:
        os.close(file)
    threading.Thread(target=pass_signals_on, args=(connection, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    connection.sendall(b"%d\n" % (code if code >= 0 else 128 - code))
    os._exit(0)


def pass_signals_on(connection: socket.socket, child: int) -> None:
    """A byte is a signal; a caller that is gone ends its program."""
    while True:
        given = connection.recv(1)
        os.kill(child, given[0] if given else signal.SIGTERM)
        if not given:
            return


def become(call: dict) -> None:
    """Take over the caller's files, folder, environment and arguments, and be its program."""
    for number, file in enumerate(call["files"]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    name, *arguments = call["command"]
    sys.argv = [name, *arguments]
    if name == "python":
        sys.argv = arguments[1:]
        sys.modules.pop(arguments[1], None)  # imported by another, and to be run here
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.exit(MAINS[name]())


if __name__ == "__main__":
    # Imported before the first call, for all of them.
    import alembic.config
    import celery.__main__
    import celery.apps.worker

    import cli.main

    MAINS = {"manna": cli.main.main, "alembic": alembic.config.main, "celery": celery.__main__.main}
    become(serve(sys.argv[1]))
