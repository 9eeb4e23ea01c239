"""Checks an installation's security: `python -m scripts.validate_security [--environment E] [--json]`.

Looks at settings, secrets, encryption, PostgreSQL, Redis, Celery, the web application, dependencies, files and the
process, changes nothing, and prints each finding with what to do about it. Exit code 1 if a check of severity high
or critical fails, 2 for wrong usage.

Example: MANNA_ENVIRONMENT=production python -m scripts.validate_security --json
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from core.broker.transport import celery_settings
from core.errors import MannaError
from core.secrets import secrets_manager
from core.secrets.values import SecretValues
from core.settings import Environment, Settings, load_settings
from core.telemetry.logs import configure_logs
from scripts.validation import Finding, Severity, Status, judge
from scripts.validation.inspection import Inspection
from scripts.validation.machine import ask_web, read_files, read_locks, read_process
from scripts.validation.servers import ask_database, ask_redis

PIPE_WIDTH = 140
PATIENCE_SECONDS = 2.0
ROOT = Path(__file__).resolve().parents[1]
COLOURS = {Severity.CRITICAL: "bold red", Severity.HIGH: "red", Severity.MEDIUM: "yellow", Severity.LOW: "cyan"}


async def inspect(
    environ: Mapping[str, str] = os.environ, root: Path = ROOT, patience: float = PATIENCE_SECONDS
) -> Inspection:
    """Read everything that the checks look at; what cannot be read is absent, and says why."""
    settings, problem = _settings()
    secrets, absent = _secrets(settings)
    parts: dict[str, Any] = {"celery": None, "database": None, "schema": None, "redis": None, "web": None}
    if settings:
        parts, reasons = await _ask(settings, patience)
        absent |= reasons
    missing = {"locks": "locks/runtime.txt or pyproject.toml is missing"}
    if problem:
        missing = dict.fromkeys(("settings", *parts), problem)
    return Inspection(
        # Settings that cannot be read are judged by the strict rules.
        environment=settings.environment if settings else Environment.PRODUCTION,
        environ=environ,
        settings=settings,
        settings_problem=problem,
        secrets=secrets,
        files=read_files(root, environ),
        locks=read_locks(root),
        process=read_process(),
        root=root,
        absent=missing | absent,
        **parts,
    )


def _settings() -> tuple[Settings | None, str | None]:
    try:
        return load_settings(), None
    except MannaError as error:
        return None, str(error)


def _secrets(settings: Settings | None) -> tuple[SecretValues | None, dict[str, str]]:
    if settings is None:
        return None, {}
    try:
        return secrets_manager.read(), {}
    except MannaError as error:
        return None, {"secrets": str(error)}


async def _ask(settings: Settings, patience: float) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        celery, database_url = celery_settings(settings), secrets_manager.get_database_url()
        (database, schema, no_database), (redis, no_redis), (web, no_web) = await asyncio.gather(
            ask_database(settings, database_url, patience), ask_redis(settings, patience), ask_web(settings)
        )
    except MannaError as error:
        reasons = dict.fromkeys(("celery", "database", "schema", "redis", "web"), str(error))
        return dict.fromkeys(reasons), reasons
    parts = {"celery": celery, "database": database, "schema": schema, "redis": redis, "web": web}
    return parts, no_database | no_redis | no_web


def report(findings: Sequence[Finding], console: Console) -> None:
    """Print a table of what failed, and what the rest came to."""
    failed = sorted(
        (f for f in findings if f.status is Status.FAILED), key=lambda f: list(COLOURS).index(f.check.severity)
    )
    if failed:
        table = Table("severity", Column("check", no_wrap=True), "found", "how to mend it")
        for finding in failed:
            severity = finding.check.severity
            table.add_row(
                f"[{COLOURS[severity]}]{severity.value}[/]", finding.check.name, finding.detail, finding.check.mend
            )
        console.print(table)
    count = Counter(finding.status for finding in findings)
    console.print(", ".join(f"{count[status]} {status.value}" for status in Status) + f" of {len(findings)} checks")
    for reason in sorted({finding.detail for finding in findings if finding.status is Status.LEFT_OUT}):
        console.print(f"left out: {reason}", highlight=False, style="dim")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make every check and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="validate_security", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environment", choices=[each.value for each in Environment], help="judge as this environment")
    parser.add_argument("--json", action="store_true", help="print every finding as JSON")
    given = parser.parse_args(arguments)
    # Whatever a part logs goes beside the answer, not into it.
    configure_logs(Environment.DEVELOPMENT, "ERROR")
    if given.environment:
        os.environ["MANNA_ENVIRONMENT"] = given.environment
    try:
        findings = list(judge(asyncio.run(inspect())))
    except MannaError as error:
        sys.stderr.write(f"validate_security: {error}\n")
        return 2
    if given.json:
        print(json.dumps([finding.as_row() for finding in findings], indent=2, ensure_ascii=False))
    else:
        report(findings, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    return 1 if any(finding.ends_badly for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
