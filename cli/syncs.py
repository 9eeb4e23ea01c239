"""`manna syncs`: the run history, and the replay of what failed."""

import asyncio
import getpass
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.instants import ACCEPTED, parse_instant
from cli.output import print_json, print_rows
from cli.session import run
from core.models import ItemStatus, ReplayStatus, RunStatus
from core.queries.runs import RunFilter, explain_run, find_runs
from core.resources import Resources
from core.sync import replay as replays
from core.sync.replay.record import RATE_PER_MINUTE

app = typer.Typer(no_args_is_help=True, help="Syncs: what was run, why it failed, and trying it again.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ErrorCode = Annotated[str | None, typer.Option("--error-code", help="Failed with this code, such as INSTITUTION_DOWN.")]
Institution = Annotated[str | None, typer.Option(help="Plaid's id of the bank, such as ins_3.")]
Since = Annotated[str | None, typer.Option(help=f"Only from then on: {ACCEPTED}.")]
COLUMNS = ("id", "item_id", "started_at", "trigger", "status", "attempt", "error_code")
REPLAY_COLUMNS = ("id", "status", "asked_by", "created_at", "items", "waiting", "sent", "succeeded", "failed")
POLL_SECONDS = 1.0


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - one option a filter
    status: Annotated[RunStatus | None, typer.Option(help="Only runs that ended so.")] = None,
    error_code: ErrorCode = None,
    institution: Institution = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """List runs, newest first. Example: manna syncs list --status failed --since 24h."""
    wanted = RunFilter(status=status, error_code=error_code, institution_id=institution, since=parse_instant(since))
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


@app.command("replay")
def replay(  # noqa: PLR0913, PLR0917 - one option a filter
    ids: Annotated[list[UUID] | None, typer.Argument(help="Ids of failed runs, or of Items.")] = None,
    error_code: ErrorCode = None,
    institution: Institution = None,
    since: Since = None,
    status: Annotated[
        ItemStatus | None, typer.Option(help="Only Items of this status; `error` are those set aside.")
    ] = None,
    rate: Annotated[
        str, typer.Option(help="How many a minute, such as 60 or 60/min.", metavar="N/min")
    ] = f"{RATE_PER_MINUTE}/min",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which Items it would be.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until the end; exit code 1 if one failed.")
    ] = False,
    stop: Annotated[UUID | None, typer.Option(metavar="REPLAY", help="Stop this replay.")] = None,
    resume: Annotated[UUID | None, typer.Option(metavar="REPLAY", help="Go on with this replay.")] = None,
    as_json: Json = False,
) -> None:
    """Sync failing Items again. Example: manna syncs replay --error-code DECRYPTION_FAILED --rate 60/min --wait."""
    selection = replays.Selection(tuple(ids or ()), error_code, institution, parse_instant(since), status)
    given = [bool(selection.as_json()), stop is not None, resume is not None]
    if sum(given) != 1:
        raise typer.BadParameter("give ids or a filter such as --error-code, or --stop, or --resume; one of the three")
    per_minute = _rate(rate)
    if dry_run:
        _preview(selection, as_json=as_json)
        return
    if stop is not None:
        found = run(lambda resources: replays.stop(resources.database, stop, _actor()))
    elif resume is not None:
        found = run(lambda resources: replays.resume(resources, resume, _actor()))
    else:
        found = run(lambda resources: replays.create_replay(resources, selection, _actor(), per_minute))
    if not (wait and as_json):
        _tell(found, as_json=as_json)
    if wait and stop is None:
        _wait(found["id"], as_json=as_json)


@app.command("replays")
def list_replays(
    replay_id: Annotated[UUID | None, typer.Argument(help="Show this one.")] = None, as_json: Json = False
) -> None:
    """List replays, newest first, or show one. Example: manna syncs replays --json."""
    if replay_id is not None:
        found = run(lambda resources: replays.find_replay(resources.database, replay_id))
        _tell(found, as_json=as_json)
        return
    print_rows(run(lambda resources: replays.list_replays(resources.database)), REPLAY_COLUMNS, as_json=as_json)


def _actor() -> str:
    return f"operator:{getpass.getuser()}"


def _rate(given: str) -> int:
    number = given.removesuffix("/min")
    if not (number.isdecimal() and 1 <= int(number) <= 100_000):  # noqa: PLR2004 - far above what Plaid allows
        raise typer.BadParameter(f"--rate {given} is no rate; accepted is a number a minute, such as 60 or 60/min")
    return int(number)


def _preview(selection: replays.Selection, *, as_json: bool) -> None:
    rows = run(lambda resources: replays.preview(resources.database, selection))
    print_rows(rows, ("status", "error_code", "items"), as_json=as_json)
    if not as_json:
        typer.echo(f"{sum(row['items'] for row in rows)} Items would be replayed; nothing was done")


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    known = " (was asked for already)" if found.get("is_new") is False else ""
    typer.echo(
        f"replay {found['id']} {found['status']}{known}: {found['items']} Items at {found['rate_per_minute']}/min"
    )
    typer.echo(_progress_line(found))


def _progress_line(found: dict[str, Any]) -> str:
    codes = " ".join(f"{code}={count}" for code, count in found["failed_by_code"].items())
    counts = " ".join(f"{name} {found[name]}" for name in ("waiting", "sent", "succeeded", "failed"))
    return f"{counts} {codes}".rstrip()


def _wait(replay_id: UUID, *, as_json: bool) -> None:
    """Show progress, as a bar on a terminal and else a line a change, until the replay is not running any more."""
    console = Console(stderr=as_json)
    if not console.is_terminal:
        found = run(lambda resources: _follow(resources, replay_id, lambda now: console.print(_progress_line(now))))
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("replaying")

            def show_bar(now: dict[str, Any]) -> None:
                ended = now["succeeded"] + now["failed"]
                progress.update(bar, total=now["items"], completed=ended, description=_progress_line(now))

            found = run(lambda resources: _follow(resources, replay_id, show_bar))
    if as_json:
        print_json(found)
    if found["failed"] or found["status"] is not ReplayStatus.FINISHED:
        raise typer.Exit(1)


async def _follow(resources: Resources, replay_id: UUID, show_it: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    while True:
        found = await replays.find_replay(resources.database, replay_id)
        if found != told:
            show_it(found)
        if found["status"] is not ReplayStatus.RUNNING:
            return found
        told = found
        await asyncio.sleep(POLL_SECONDS)
