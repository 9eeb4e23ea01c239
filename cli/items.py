"""`manna items`: register, list, show and sync Items."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from cli.output import plain, print_json, print_rows
from cli.session import operator, run
from core.errors import MannaError
from core.items.registration import NewItem, register_items
from core.items.removal import remove_item, revoke_due
from core.models import ItemStatus, RunStatus, SyncTrigger
from core.queries.items import ItemFilter, find_items, read_item
from core.resources import Resources
from core.sync.outcome import Outcome
from core.sync.reconcile import reconcile
from core.sync.sync_item import sync_item

app = typer.Typer(no_args_is_help=True, help="Items: a user's log-in at a bank.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
COLUMNS = ("id", "user_id", "plaid_item_id", "status", "error_code", "last_synced_at", "next_sync_at")
ACCOUNT_COLUMNS = ("name", "mask", "type", "subtype", "balance_current", "iso_currency_code")
RUN_COLUMNS = ("started_at", "trigger", "status", "added", "modified", "removed", "error_code")
PAGE = 1000
ACCEPTED = '{"user_id", "plaid_item_id", "access_token", "institution_id"?}'


@app.command("add")
def add(
    user: Annotated[str, typer.Option("--user", help="Your id of the user.")],
    item_id: Annotated[str, typer.Option("--item-id", help="Plaid's id of the Item.")],
    access_token_file: Annotated[str, typer.Option(help="A file that holds the token, or - for standard input.")] = "-",  # noqa: S107 - a file
    institution: Annotated[str | None, typer.Option(help="Plaid's id of the institution.")] = None,
) -> None:
    """Register an Item. Example: manna items add --user u1 --item-id ID --access-token-file token.txt."""
    token = _read(access_token_file).strip()
    if not token:
        raise MannaError("the access token is empty; accepted is a file with the token, or - for standard input")
    new = NewItem(user, item_id, token, institution)
    ids = run(lambda resources: register_items(resources.database, [new], operator()))
    if not ids:
        raise MannaError(f"the Item {item_id} is registered already")
    typer.echo(ids[0])


@app.command("import")
def import_items(file: Annotated[str, typer.Argument(help="One JSON object a line, or - for standard input.")]) -> None:
    """Register many Items. Example: manna items import items.ndjson."""
    items = list(_parse(_read(file)))
    ids = run(lambda resources: register_items(resources.database, items, operator()))
    typer.echo(f"{len(ids)} registered, {len(items) - len(ids)} were there already")


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - one option a filter
    status: Annotated[ItemStatus | None, typer.Option(help="Only Items of this status.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    institution: Annotated[str | None, typer.Option(help="Plaid's id of the bank, such as ins_3.")] = None,
    error_code: Annotated[str | None, typer.Option("--error-code", help="Failing with this code.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """List Items, newest first. Example: manna items list --status needs_reauth --json."""
    wanted = ItemFilter(status=status, user_id=user, institution_id=institution, error_code=error_code)
    found = run(lambda resources: find_items(resources.database, wanted, limit))
    print_rows(found.data, COLUMNS, as_json=as_json)


@app.command("show")
def show(item_id: UUID, as_json: Json = False) -> None:
    """Show an Item, its accounts and its last runs. Example: manna items show ID."""
    found = run(lambda resources: read_item(resources.database, item_id))
    if as_json:
        print_json(found)
        return
    accounts, runs = found.pop("accounts"), found.pop("runs")
    for name, value in found.items():
        if value is not None:
            typer.echo(f"{name:22} {plain(value)}")
    print_rows(accounts, ACCOUNT_COLUMNS, as_json=False)
    print_rows(runs, RUN_COLUMNS, as_json=False)


@app.command("sync")
def sync(
    item_ids: Annotated[list[UUID] | None, typer.Argument(help="Our ids of the Items.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every Item.")] = False,
    status: Annotated[ItemStatus | None, typer.Option(help="Every Item of this status.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Sync here and now, and tell how each ended.")] = False,
) -> None:
    """Sync Items. Example: manna items sync --status error --wait."""
    if not (item_ids or every or status):
        raise typer.BadParameter("name Items by their ids, or give --all or --status")
    if run(lambda resources: _sync(resources, item_ids or [], status, wait=wait)):
        raise typer.Exit(1)


@app.command("remove")
def remove(
    item_ids: Annotated[list[UUID], typer.Argument(help="Our ids of the Items.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove Items, here at once and at Plaid until it agrees; rows stay. Example: manna items remove ID --yes."""
    if not yes:
        typer.confirm(f"Remove {len(item_ids)} Item(s)? Their users have to link again.", abort=True)

    async def remove_all(resources: Resources) -> int:
        for item_id in item_ids:
            await remove_item(resources, item_id, operator())
        return await revoke_due(resources)

    agreed = run(remove_all)
    typer.echo(f"{len(item_ids)} removed; Plaid agreed to {agreed} just now, the worker asks again for the rest")


@app.command("reconcile")
def reconcile_item(
    item_id: UUID,
    repair: Annotated[bool, typer.Option("--repair", help="Put the rows right; nothing is deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Compare rows with everything Plaid has; exit code 1 if they differ. Example: manna items reconcile ID."""
    drift = run(lambda resources: reconcile(resources, item_id, repair=repair))
    if as_json:
        found = [msgspec.to_builtins(one) for one in drift.differences]
        print_json({"item_id": item_id, "compared": drift.compared, "repaired": drift.repaired, "differences": found})
    else:
        rows = [{"transaction": d.transaction_id, "is": d.what, "in": ", ".join(d.columns)} for d in drift.differences]
        if rows:
            print_rows(rows, ("transaction", "is", "in"), as_json=False)
        kinds = ", ".join(f"{drift.count(kind)} {kind}" for kind in ("missing", "extra", "changed"))
        typer.echo(f"{drift.compared} compared: {kinds}{', repaired' if drift.repaired else ''}")
    if drift.outcome.status is RunStatus.FAILED:
        raise MannaError(f"the Item could not be compared: {drift.outcome.error_code}")
    if drift.differences and not drift.repaired:
        raise typer.Exit(1)


async def _sync(resources: Resources, given: list[UUID], status: ItemStatus | None, *, wait: bool) -> int:
    """Sync the Items, or send for it, and return how many failed."""
    chosen = given or await _ids(resources, ItemFilter(status=status))
    if not wait:
        sent = [await resources.publisher.publish_once(item_id, SyncTrigger.MANUAL) for item_id in chosen]
        typer.echo(f"{sum(sent)} of {len(chosen)} sent to the queue")
        return len(chosen) - sum(sent)
    outcomes = await asyncio.gather(*(_sync_here(resources, item_id) for item_id in chosen))
    failed = sum(outcome.status is RunStatus.FAILED for outcome in outcomes)
    typer.echo(f"{len(outcomes)} done, {failed} failed")
    return failed


async def _ids(resources: Resources, wanted: ItemFilter) -> list[UUID]:
    found = await find_items(resources.database, wanted, PAGE)
    ids = [row["id"] for row in found.data]
    while found.next_cursor:
        found = await find_items(resources.database, wanted, PAGE, found.next_cursor)
        ids += [row["id"] for row in found.data]
    return ids


async def _sync_here(resources: Resources, item_id: UUID) -> Outcome:
    async with resources.slots:
        outcome = await sync_item(resources, item_id, SyncTrigger.MANUAL)
    typer.echo(f"{item_id} {outcome.status.value} {outcome.error_code or ''}".rstrip())
    return outcome


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MannaError(f"{file} cannot be read: {type(error).__name__}") from None


def _parse(text: str) -> Iterator[NewItem]:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(NewItem)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise MannaError(f"line {number}: {error}; accepted is {ACCEPTED}; nothing was imported") from None
