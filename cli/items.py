"""`manna items`: register, list, show, sync and remove Items."""

from typing import Annotated
from uuid import UUID

import msgspec
import typer

from cli import item_sync, item_webhooks
from cli.item_lines import new_item, read_items, read_text
from cli.output import plain, print_json, print_rows, print_told
from cli.progress import progress
from cli.session import operator, run
from core.errors import MannaError
from core.items.registration import count_known, register_items
from core.items.removal import remove_item, revoke_due
from core.models import ItemStatus, RunStatus
from core.queries.items import ItemFilter, ensure_known, find_items, read_item
from core.resources import Resources
from core.sync.reconcile import reconcile

app = typer.Typer(no_args_is_help=True, help="Items: a user's log-in at a bank.")
app.command("sync")(item_sync.sync)
app.command("register-webhooks")(item_webhooks.register_webhooks)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
COLUMNS = ("id", "user_id", "plaid_item_id", "status", "error_code", "last_synced_at", "next_sync_at")
ACCOUNT_COLUMNS = ("name", "mask", "type", "subtype", "balance_current", "iso_currency_code")
RUN_COLUMNS = ("started_at", "trigger", "status", "added", "modified", "removed", "error_code")


@app.command("add")
def add(
    user: Annotated[str, typer.Option("--user", help="Your id of the user.")],
    item_id: Annotated[str, typer.Option("--item-id", help="Plaid's id of the Item.")],
    access_token_file: Annotated[str, typer.Option(help="A file that holds the token, or - for standard input.")] = "-",  # noqa: S107 - a file
    institution: Annotated[str | None, typer.Option(help="Plaid's id of the institution.")] = None,
) -> None:
    """Register an Item. Example: manna items add --user u1 --item-id ID --access-token-file token.txt."""
    token = read_text(access_token_file).strip()
    if not token:
        raise MannaError("the access token is empty; accepted is a file with the token, or - for standard input")
    new = new_item({"user_id": user, "plaid_item_id": item_id, "access_token": token, "institution_id": institution})
    ids = run(lambda resources: register_items(resources.database, [new], operator()))
    if not ids:
        raise MannaError(f"the Item {item_id} is registered already")
    typer.echo(ids[0])


@app.command("import")
def import_items(
    file: Annotated[str, typer.Argument(help="One JSON object a line, or - for standard input.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Register many Items. Example: manna items import items.ndjson.

    Every line is read before the first Item is registered. Interrupted, the same command goes on where it stood.
    """
    items = read_items(file)
    if dry_run:
        known = run(lambda resources: count_known(resources.database, items))
        new = len(items) - known
        print_told({"new": new, "known": known}, f"{new} would be registered, {known} are there already", as_json)
        return
    with progress("registering", len(items)) as advance:
        ids = run(lambda resources: register_items(resources.database, items, operator(), advance))
    known = len(items) - len(ids)
    print_told({"registered": len(ids), "known": known}, f"{len(ids)} registered, {known} were there already", as_json)


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - one option a filter
    status: Annotated[ItemStatus | None, typer.Option(help="Only Items of this status.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    institution: Annotated[str | None, typer.Option(help="Plaid's id of the bank, such as ins_3.")] = None,
    error_code: Annotated[str | None, typer.Option("--error-code", help="Failing with this code.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
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


@app.command("remove")
def remove(
    item_ids: Annotated[list[UUID], typer.Argument(help="Our ids of the Items.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove Items, here at once and at Plaid until it agrees; rows stay. Example: manna items remove ID --yes.

    Nothing is removed if one of the ids is wrong. Interrupted, the same command goes on where it stood.
    """
    chosen = list(dict.fromkeys(item_ids))
    run(lambda resources: ensure_known(resources.database, chosen))
    if dry_run:
        print_told({"items": len(chosen)}, f"{len(chosen)} Items would be removed; nothing was done", as_json)
        return
    if not yes:
        typer.confirm(f"Remove {len(chosen)} Item(s)? Their users have to link again.", abort=True, err=True)

    async def remove_all(resources: Resources) -> int:
        with progress("removing", len(chosen)) as advance:
            for item_id in chosen:
                await remove_item(resources, item_id, operator())
                advance(1)
        return await revoke_due(resources)

    agreed = run(remove_all)
    told = f"{len(chosen)} removed; Plaid agreed to {agreed} just now, the worker asks again for the rest"
    print_told({"removed": len(chosen), "agreed": agreed}, told, as_json)


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
