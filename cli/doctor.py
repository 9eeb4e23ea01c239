"""`manna doctor`: one screen that tells what is wrong and the next command to run."""

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cli.output import print_json
from core.diagnosis import Finding, State, diagnose
from core.errors import ConfigurationError
from core.settings import load_settings
from core.telemetry.logs import configure_logs

MARKS = {State.OK: "[green]ok[/]", State.ATTENTION: "[yellow]attention[/]", State.WRONG: "[red]wrong[/]"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Tell what is wrong and what to run next; exit code 1 if something is. Example: manna doctor."""
    findings = asyncio.run(_diagnose())
    if as_json:
        print_json([msgspec.to_builtins(finding) for finding in findings])
    else:
        _print(findings)
    if any(finding.state is State.WRONG for finding in findings):
        raise typer.Exit(1)


async def _diagnose() -> list[Finding]:
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return [Finding("settings", State.WRONG, str(error), ("manna doctor",))]
    configure_logs(settings.environment, "ERROR")
    try:
        return [Finding("settings", State.OK, settings.environment.value), *[one async for one in diagnose(settings)]]
    except ConfigurationError as error:
        return [Finding("settings", State.WRONG, str(error), ("manna doctor",))]


def _print(findings: list[Finding]) -> None:
    table = Table("", "part", "what is seen", show_edge=False, pad_edge=False)
    for finding in findings:
        table.add_row(MARKS[finding.state], finding.part, finding.said)
    Console().print(table)
    # Whole lines, to be copied; once each, in the order in which one would mend them.
    commands = dict.fromkeys(command for finding in findings for command in finding.commands)
    if commands:
        typer.echo("\nNext:")
    for command in commands:
        typer.echo(f"  {command}")
