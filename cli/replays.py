"""`manna syncs replay` and `replays`: failing Items are synced again, at a rate, and watched."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.instants import ACCEPTED, parse_instant
from cli.output import print_json, print_rows
from cli.session import operator, run
from core.models import ItemStatus, ReplayStatus
from core.resources import Resources
from core.sync.replay import Selection, create_replay, find_replay, preview
from core.sync.replay import list_replays as read_replays
from core.sync.replay import resume as resume_replay
from core.sync.replay import stop as stop_replay
from core.sync.replay.record import RATE_PER_MINUTE

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ErrorCode = Annotated[str | None, typer.Option("--error-code", help="Failed with this code, such as INSTITUTION_DOWN.")]
ErrorType = Annotated[
    str | None, typer.Option("--error-type", help="Failed with this class, such as ITEM_ERROR; MANNA for our own.")
]
Institution = Annotated[str | None, typer.Option(help="Plaid's id of the bank, such as ins_3.")]
Since = Annotated[str | None, typer.Option(help=f"Only from then on: {ACCEPTED}.")]
Status = Annotated[ItemStatus | None, typer.Option(help="Only Items of this status; `error` are those set aside.")]
FromJournal = Annotated[
    bool, typer.Option("--from-journal", help="Apply the recorded pages of the newest failed run, without Plaid.")
]
Rate = Annotated[str, typer.Option(help="How many a minute, such as 60 or 60/min.", metavar="N/min")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell which Items it would be.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress until the end; exit code 1 if one failed.")]
Stop = Annotated[UUID | None, typer.Option(metavar="REPLAY", help="Stop this replay.")]
Resume = Annotated[UUID | None, typer.Option(metavar="REPLAY", help="Go on with this replay.")]
Until = Annotated[str | None, typer.Option(help="Only before then.")]
REPLAY_COLUMNS = ("id", "status", "asked_by", "created_at", "items", "waiting", "sent", "succeeded", "failed")
POLL_SECONDS = 1.0


def replay(  # noqa: PLR0913, PLR0917 - one option a filter
    ids: Annotated[list[UUID] | None, typer.Argument(help="Ids of failed runs, or of Items.")] = None,
    error_code: ErrorCode = None,
    error_type: ErrorType = None,
    institution: Institution = None,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    from_journal: FromJournal = False,
    rate: Rate = f"{RATE_PER_MINUTE}/min",
    dry_run: DryRun = False,
    wait: Wait = False,
    stop: Stop = None,
    resume: Resume = None,
    as_json: Json = False,
) -> None:
    """Sync failing Items again. Example: manna syncs replay --error-code DECRYPTION_FAILED --rate 60/min --wait."""
    selection = Selection(tuple(ids or ()), error_code, institution, parse_instant(since), status, error_type)
    selection = replace(selection, until=parse_instant(until), from_journal=from_journal)
    per_minute = _rate(rate)
    if (found := _turned(stop, resume, selection, dry_run=dry_run)) is None:
        if dry_run:
            _preview(selection, as_json=as_json)
            return
        found = run(lambda resources: create_replay(resources, selection, operator(), per_minute))
    if not (wait and as_json):
        _tell(found, as_json=as_json)
    if wait and stop is None:
        _wait(found["id"], as_json=as_json)


def list_replays(
    replay_id: Annotated[UUID | None, typer.Argument(help="Show this one.")] = None, as_json: Json = False
) -> None:
    """List replays, newest first, or show one. Example: manna syncs replays --json."""
    if replay_id is not None:
        found = run(lambda resources: find_replay(resources.database, replay_id))
        _tell(found, as_json=as_json)
        return
    print_rows(run(lambda resources: read_replays(resources.database)), REPLAY_COLUMNS, as_json=as_json)


def _turned(
    stopped: UUID | None, resumed: UUID | None, selection: Selection, *, dry_run: bool
) -> dict[str, Any] | None:
    """Stop or resume what was named, or return None where Items were chosen; exactly one of the three is asked for."""
    chooses = bool(replace(selection, from_journal=False).as_json())
    if [chooses, stopped is not None, resumed is not None].count(True) != 1:
        raise typer.BadParameter("give ids or a filter such as --error-code, or --stop, or --resume; one of the three")
    if not chooses and (dry_run or selection.from_journal):
        raise typer.BadParameter("--dry-run and --from-journal go with ids or a filter, not with --stop or --resume")
    if stopped is not None:
        return run(lambda resources: stop_replay(resources.database, stopped, operator()))
    if resumed is not None:
        return run(lambda resources: resume_replay(resources, resumed, operator()))
    return None


def _rate(given: str) -> int:
    number = given.removesuffix("/min")
    if not (number.isdecimal() and 1 <= int(number) <= 100_000):  # noqa: PLR2004 - far above what Plaid allows
        raise typer.BadParameter(f"--rate {given} is no rate; accepted is a number a minute, such as 60 or 60/min")
    return int(number)


def _preview(selection: Selection, *, as_json: bool) -> None:
    rows = run(lambda resources: preview(resources.database, selection))
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
        found = await find_replay(resources.database, replay_id)
        if found != told:
            show_it(found)
        if found["status"] is not ReplayStatus.RUNNING:
            return found
        told = found
        await asyncio.sleep(POLL_SECONDS)
