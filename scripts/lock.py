"""Renews `locks/`: names, versions and hashes for every platform, and no addresses."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    "locks/runtime.txt": ("pyproject.toml",),
    # The container's: whoever deploys it chooses by settings, not by what is installed.
    "locks/image.txt": ("pyproject.toml", "--extra", "aws", "--extra", "otel"),
    "locks/build.txt": ("--group", "build"),
    "locks/dev.txt": ("pyproject.toml", "--extra", "devstack", "--extra", "otel", "--group", "dev", "--group", "docs"),
    # Of the project itself nothing is in it: only what the benchmark's peers need.
    "locks/bench.txt": ("--group", "bench"),
}
FLAGS = [
    "--generate-hashes",
    "--no-emit-index-url",
    "--universal",
    "--python-version",
    "3.11",
    "--no-annotate",
    "--no-header",
    "--quiet",
    "--upgrade",
]


def compile_lock(target: str, selection: tuple[str, ...]) -> None:
    """Resolve one lock file from pyproject.toml; a failed resolution leaves the old file standing."""
    command = [sys.executable, "-m", "uv", "pip", "compile", *selection, "-o", target]
    subprocess.run([*command, *FLAGS], cwd=ROOT, check=True)  # noqa: S603 - fixed command


def main() -> None:
    """Renew every lock file."""
    for target, selection in TARGETS.items():
        compile_lock(target, selection)
        print(f"renewed {target}")


if __name__ == "__main__":
    main()
