"""What the benchmarks beside `make bench` keep: `benchmarks/SECURITY.md`, a section each, as it was printed."""

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from devstack.processes import ROOT

FILE = Path(__file__).with_name("SECURITY.md")
HEAD = """# Encryption, rotation and audit: what was measured

Each section is the output of one command, which rewrites it with `--keep`. Seconds do not carry over to another
machine, ratios within one run do.
"""


class Log:
    """Prints lines with the seconds since its beginning, and keeps them."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Print a line at once."""
        line = f"{time.monotonic() - self.began:7.1f} s  {text}"
        self.lines.append(line)
        print(line, flush=True)


def keep(title: str, lines: list[str]) -> None:
    """Write a section in place of the one with its title, with the command and its circumstances."""
    section = f"## {title}\n\n{_circumstances()}\n\n```text\n" + "\n".join(lines) + "\n```\n"
    text = FILE.read_text() if FILE.exists() else HEAD
    old = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    others = old.sub("", text).rstrip()
    FILE.write_text(f"{others}\n\n{section}")


def _circumstances() -> str:
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    script = Path(sys.argv[0])
    program = str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else script.name
    load = os.getloadavg()[0]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"`python {shlex.join([program, *sys.argv[1:]])}`, commit {commit or 'none'}, {when},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}, load average at its end {load:.1f}."
    )
