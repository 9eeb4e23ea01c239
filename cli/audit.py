"""`manna audit`: read the record, prove that it is whole, take it out."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from cli.instants import ACCEPTED, parse_instant
from cli.output import print_json
from cli.session import operator, run
from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.chain import SealedEvent
from core.audit.checkpoints import Checkpoint, export_checkpoints
from core.audit.export import ExportFormat, as_fields, as_lines
from core.audit.proof import prove_chain
from core.audit.reading import Selection, read_newest, read_selected
from core.audit.signing import load_signing_key
from core.audit.verification import Verification
from core.errors import MannaError
from core.resources import Resources
from core.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The audit log: who did what, sealed in a chain.")
Types = Annotated[
    list[AuditEventType] | None,
    typer.Option(
        "--type", metavar="TYPE", help="Only events of this type, see docs/reference/audit-events.md; repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
POLL_SECONDS = 1.0


@app.command("tail")
def tail(
    count: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="How many events.")] = 20,
    types: Types = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is sealed from now on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print the newest events, oldest first. Example: manna audit tail --follow --type auth:login:failed."""
    try:
        run(lambda resources: _tail(resources, count, _words(types), follow=follow, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _tail(
    resources: Resources, count: int, types: tuple[str, ...] | None, *, follow: bool, as_json: bool
) -> None:
    events = await read_newest(resources.database, count, types)
    # Of all types: from here on what is followed is whatever comes after the newest there is.
    newest = await read_newest(resources.database, 1)
    last = newest[0].seq if newest else 0
    _print_events(events, as_json=as_json)
    while follow:
        await asyncio.sleep(POLL_SECONDS)
        async for later in read_selected(resources.database, after=last):
            last = later[-1].seq if later else last
            wanted = [event for event in later if types is None or event.content.event_type in types]
            _print_events(wanted, as_json=as_json)


def _print_events(events: list[SealedEvent], *, as_json: bool) -> None:
    for event in events:
        typer.echo(msgspec.json.encode(as_fields(event)) if as_json else _line(event))


def _line(event: SealedEvent) -> str:
    content = event.content
    facts = " ".join(f"{name}={value}" for name, value in content.context.items())
    at = content.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{event.seq:>8} {at} {content.event_type:28} {content.actor} {content.resource or '-'} {facts}".rstrip()


@app.command("verify")
def verify(
    checkpoints: Annotated[
        Path | None, typer.Option(help="An exported checkpoints.ndjson, which must still hold.", exists=True)
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk along the whole chain and its signatures; exit code 1 if something does not hold.

    Example: manna audit verify --checkpoints /mnt/worm/checkpoints.ndjson
    """
    outside = _read_checkpoints(checkpoints) if checkpoints else []
    with _progress() as progress:
        found = run(lambda resources: _verify(resources, outside, progress))
    unsigned = found.head.seq - found.signed_through
    if as_json:
        facts = {"events": found.events, "head": found.head.hash.hex(), "checkpoints": found.checkpoints}
        print_json({**facts, "signed_through": found.signed_through, "unsigned": unsigned, "problem": found.problem})
    else:
        signed = f"{found.checkpoints} signatures hold, {unsigned} events wait for the next"
        typer.echo(found.problem or f"{found.events} events, every link holds, {signed}")
    if found.problem:
        raise typer.Exit(1)


async def _verify(resources: Resources, outside: list[Checkpoint], progress: Progress) -> Verification:
    bar = progress.add_task("verifying", total=None)

    def show(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    settings, database = resources.settings, resources.database
    return await prove_chain(settings, database, operator(), outside=outside, progress=show)


def _read_checkpoints(file: Path) -> list[Checkpoint]:
    accepted = "accepted is what `manna audit checkpoints` wrote"
    try:
        found = msgspec.json.Decoder(Checkpoint).decode_lines(file.read_bytes())
    except msgspec.MsgspecError as error:
        raise MannaError(f"{file} holds no checkpoints: {error}; {accepted}") from None
    if not found:
        # Nothing would be compared, and whoever asked would believe it was.
        raise MannaError(f"{file} holds no checkpoints: it is empty; {accepted}")
    return found


@app.command("export")
def export(
    kind: Annotated[ExportFormat, typer.Option("--format", help="OCSF 1.3, or the events as they are.")],
    since: Annotated[str | None, typer.Option(help=f"Only what happened since then: {ACCEPTED}.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what happened before then.")] = None,
    types: Types = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; standard output if left out.")] = None,
) -> None:
    """Write events as JSON lines. Example: manna audit export --format ocsf --since 24h --out audit.ndjson."""
    selection = Selection(_words(types), parse_instant(since), parse_instant(until))
    written = run(lambda resources: _export(resources, selection, kind, out))
    Console(stderr=True).print(f"{written} events exported", highlight=False)


async def _export(resources: Resources, selection: Selection, kind: ExportFormat, out: Path | None) -> int:
    written = 0
    try:
        with _output(out) as file, _progress(enabled=out is not None) as progress:
            bar = progress.add_task("exporting", total=None)
            async for events in read_selected(resources.database, selection):
                file.write(as_lines(events, kind))
                written += len(events)
                progress.update(bar, completed=written)
    finally:
        # Also of an export that was cut short: what was written has left.
        await _record_export(resources, AuditContext(format=kind.value, count=written, filter=_described(selection)))
    return written


async def _record_export(resources: Resources, context: AuditContext) -> None:
    what, message = AuditEventType.AUDIT_EXPORTED, "Audit events were exported"
    await log_audit_event(what, message, context=context, database=resources.database, actor=operator())


@app.command("checkpoints")
def checkpoints(
    directory: Annotated[
        Path, typer.Option(help="Where checkpoints.ndjson is appended to.", file_okay=False, exists=True)
    ],
) -> None:
    """Write the signed checkpoints outside, each once. Example: manna audit checkpoints --directory /mnt/worm."""
    try:
        written = run(lambda resources: export_checkpoints(resources.database, directory))
    except OSError as error:
        raise MannaError(f"{directory} cannot be written: {error.strerror}") from None
    typer.echo(f"{written} checkpoints exported")


@app.command("public-key")
def public_key() -> None:
    """Print the public key that an auditor verifies checkpoints with. Example: manna audit public-key > key.txt."""
    typer.echo(load_signing_key(load_settings()).public.text)


def _words(types: list[AuditEventType] | None) -> tuple[str, ...] | None:
    return tuple(kind.value for kind in types) if types else None


def _described(selection: Selection) -> str:
    limits = {"since": selection.since, "until": selection.until}
    words = [f"{name}={moment.isoformat()}" for name, moment in limits.items() if moment]
    return " ".join([*words, *(f"type={kind}" for kind in selection.types or ())]) or "everything"


@contextmanager
def _output(out: Path | None) -> Iterator[BinaryIO]:
    """Give the file to write; one of this name appears when it is whole, and the one before it stays until then."""
    if out is None:
        yield sys.stdout.buffer
        return
    is_special = out.exists() and not out.is_file()
    place = out if is_special else out.with_name(f".{out.name}.part")
    try:
        with place.open("wb") as file:
            yield file
        if not is_special:
            place.replace(out)
    except OSError as error:
        raise MannaError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        if not is_special:
            place.unlink(missing_ok=True)


@contextmanager
def _progress(*, enabled: bool = True) -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (enabled and console.is_terminal)) as progress:
        yield progress
