"""Where a stack keeps its files, under whose name its servers run, and which ports are free."""

import os
import pwd
import shutil
import socket
import tempfile
from pathlib import Path

import psutil

from devstack.errors import StackError

PREFIX = "manna-stack-"
OPEN_TO_ALL = 0o005
UNPRIVILEGED = ("postgres", "nobody")


def make_directory() -> Path:
    """Make this process's directory for data and logs, after removing those of processes that died."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    # The servers' own user passes through; what lies inside has its own, closed modes.
    directory.chmod(0o711)
    return directory


def server_user() -> tuple[int, int] | None:
    """Return the user and group that PostgreSQL runs under when we are root, which it refuses to be."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError(f"PostgreSQL refuses root, and none of the users {', '.join(UNPRIVILEGED)} exists to run it")


def readable_by_all(directory: Path, fallback: Path) -> Path:
    """Return `directory`, or a copy of it in `fallback` when another user could not get there."""
    reachable = all(place.stat().st_mode & OPEN_TO_ALL == OPEN_TO_ALL for place in (directory, *directory.parents))
    if reachable or server_user() is None:
        return directory
    shutil.copytree(directory, fallback, symlinks=True)
    return fallback


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
