"""How another terminal finds a stack that `make up` keeps running: by a file in its directory.

The file is a shell's: `set -a; . FILE` puts the stack's environment around any command. It holds passwords and a
key, so it is its owner's alone (0600), and it goes with the stack's directory, which the supervisor removes even
after a kill -9.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from devstack.errors import StackError
from devstack.places import PREFIX
from devstack.processes import ROOT

NAME = "stack.env"
PID = "MANNA_STACK_PID"
CHECKOUT = "MANNA_STACK_ROOT"
KEPT = ("DATABASE_URL", "REDIS_URL", "JWT_SIGNING_KEY", "MANNA_", "PLAID_", "PUBLIC_URL")


def keep_state(directory: Path, environment: Mapping[str, str]) -> Path:
    """Write down this process's stack and return the file."""
    kept = {name: value for name, value in environment.items() if name.startswith(KEPT)}
    kept |= {PID: str(os.getpid()), CHECKOUT: str(ROOT)}
    path = directory / NAME
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={shlex.quote(value)}\n" for name, value in sorted(kept.items()))
    return path


def find_state() -> dict[str, str]:
    """Return the environment of the stack that runs from this checkout, the newest if there are several.

    Raises:
        StackError: none runs.
    """
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{NAME}"), key=_age, reverse=True):
        if (state := _read(path)) is not None:
            return state
    raise StackError("no stack of this checkout is running; start one with `make up` in another terminal")


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _read(path: Path) -> dict[str, str] | None:
    try:
        # Anybody may make a directory of this name in a shared place for temporary files.
        if path.stat().st_uid != os.geteuid():
            return None
        lines = shlex.split(path.read_text())
    except OSError:
        return None
    state = dict(line.split("=", 1) for line in lines)
    is_ours = state.get(CHECKOUT) == str(ROOT) and psutil.pid_exists(int(state.get(PID, "0")))
    return state if is_ours else None
