"""`manna syncs`: the run history, and the replay of what failed."""

from typing import Annotated
from uuid import UUID

import msgspec
import typer

from cli import replays
from cli.instants import parse_instant
from cli.output import print_json, print_rows
from cli.replays import ErrorCode, ErrorType, Institution, Json, Since, Until
from cli.session import run
from core.models import RunStatus
from core.queries.runs import RunFilter, explain_run, find_runs

app = typer.Typer(no_args_is_help=True, help="Syncs: what was run, why it failed, and trying it again.")
COLUMNS = ("id", "item_id", "started_at", "trigger", "status", "attempt", "error_code")
app.command("replay")(replays.replay)
app.command("replays")(replays.list_replays)


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - one option a filter
    status: Annotated[RunStatus | None, typer.Option(help="Only runs that ended so.")] = None,
    error_code: ErrorCode = None,
    error_type: ErrorType = None,
    institution: Institution = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    as_json: Json = False,
) -> None:
    """List runs, newest first. Example: manna syncs list --status failed --since 24h."""
    wanted = RunFilter(
        status=status,
        error_code=error_code,
        error_type=error_type,
        institution_id=institution,
        since=parse_instant(since),
        until=parse_instant(until),
    )
    found = run(lambda resources: find_runs(resources.database, wanted, limit))
    print_rows(found.data, COLUMNS, as_json=as_json)


@app.command("show")
def show(run_id: UUID, as_json: Json = False) -> None:
    """Show a run; a failed one explains itself. Example: manna syncs show ID."""
    found, told = run(lambda resources: explain_run(resources.database, run_id))
    if as_json:
        print_json({**found, "explanation": None if told is None else msgspec.to_builtins(told)})
        return
    for name, value in found.items():
        typer.echo(f"{name:22} {'' if value is None else value}")
    if told is not None:
        when = f" Next try: {told.next_sync_at:%Y-%m-%d %H:%M:%S} UTC." if told.next_sync_at else ""
        typer.echo(f"\nWhat happened: {told.happened}\nBy itself:     {told.retry}{when}\nYou can:       {told.advice}")
