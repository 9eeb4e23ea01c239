"""`manna keys`: field-encryption keys, their rotation, and the rotation of the tokens that they seal."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from cli.output import print_json, print_rows
from cli.progress import progress
from cli.session import operator, run
from cli.token_import import import_tokens
from core.broker.messages import ReencryptTokens
from core.encryption import EncryptionKeyProvider
from core.encryption.provider import parse_key
from core.encryption.wrapping import wrap_key
from core.errors import LockNotAcquiredError, MannaError, SyncError
from core.items.token_rotation import rotate_access_token
from core.queries.items import ensure_known
from core.resources import Resources
from core.rotation.promotion import destroy, key_states, promote
from core.rotation.reencrypt import Reencryption
from core.rotation.rotate import Plan, plan_rotation, reencrypt_everywhere

app = typer.Typer(no_args_is_help=True, help="Field-encryption keys, and the tokens that they seal.")
app.command("import-tokens")(import_tokens)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
COLUMNS = ("key_id", "status", "rows", "uses", "known_by", "processes", "promoted_at")


@app.command("generate")
def generate(
    wrap: Annotated[str | None, typer.Option(help="Wrap it: local, aws or vault.")] = None,
    kek: Annotated[str, typer.Option(help="What wraps it: a file, a KMS key or a transit key.")] = "",
) -> None:
    """Print a fresh key for MANNA_ENCRYPTION_KEY. Example: manna keys generate > key.txt."""
    key = EncryptionKeyProvider.generate_key()
    typer.echo(wrap_key(parse_key("the key", key), wrap, kek) if wrap else key)


@app.command("status")
def status(as_json: Json = False) -> None:
    """Show each key, what is sealed under it, and who has it. Example: manna keys status --json."""
    states = run(lambda resources: key_states(resources.database, resources.settings))
    print_rows([asdict(state) for state in states], COLUMNS, as_json=as_json)


@app.command("rotate")
def rotate(
    to: Annotated[
        str | None, typer.Option(help="The pending key to promote; MANNA_ENCRYPTION_KEY if left out.")
    ] = None,
    rate: Annotated[int | None, typer.Option(min=0, help="Rows a second; 0 is as fast as it goes.")] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Promote here, re-encrypt on a worker.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Promote the new key and re-encrypt everything under it, online. Example: manna keys rotate --dry-run.

    Give MANNA_ENCRYPTION_KEY the new key and MANNA_ENCRYPTION_KEYS_PREVIOUS the old one in every process first.
    Interrupted, the same command goes on where it stood.
    """
    plan, state = run(lambda resources: _rotate(resources, to, rate, queue=queue, dry_run=dry_run))
    if as_json:
        print_json({"plan": asdict(plan), "result": None if state is None else asdict(state)})
    else:
        typer.echo(_told(plan, state, queue=queue, dry_run=dry_run))
    if state is not None and state.remaining:
        raise typer.Exit(1)


async def _rotate(
    resources: Resources, to: str | None, rate: int | None, *, queue: bool, dry_run: bool
) -> tuple[Plan, Reencryption | None]:
    database, settings = resources.database, resources.settings
    plan = await plan_rotation(database, settings, to)
    if dry_run or plan.is_empty:
        return plan, None
    if plan.candidate is not None:
        await promote(database, settings, plan.candidate, operator())
        await resources.keyring.refresh()
    if queue:
        if not await resources.publisher.publish(ReencryptTokens()):
            raise MannaError("the key was promoted, yet the broker took no message; run manna keys rotate again")
        return plan, None
    with progress("re-encrypting", plan.rows) as advance:
        state = await reencrypt_everywhere(
            database, settings, rows_per_second=rate, actor=operator(), on_progress=advance
        )
    return plan, state


def _told(plan: Plan, state: Reencryption | None, *, queue: bool, dry_run: bool) -> str:
    if plan.is_empty:
        return f"nothing to rotate: every row is under the active key {plan.active}, and no other key waits"
    promotion = f"promote {plan.candidate} over {plan.active}" if plan.candidate else f"stay with {plan.active}"
    if dry_run:
        waiting = f"; {plan.unknown_to} live processes do not know it yet" if plan.unknown_to else ""
        return f"would {promotion} and re-encrypt {plan.rows} rows{waiting}"
    if queue or state is None:
        return f"sent to the queue: {promotion} is done, manna keys status shows how {plan.rows} rows move"
    unreadable = f", {state.unreadable} of which do not open" if state.unreadable else ""
    return f"{state.rewritten} rows re-encrypted, {state.remaining} rows under the old key{unreadable}"


@app.command("destroy")
def destroy_key(key_id: Annotated[str, typer.Argument(help="The key's id, as `manna keys status` shows it.")]) -> None:
    """Retire a key that nothing uses for good. Example: manna keys destroy 8c1d20aa."""
    run(lambda resources: destroy(resources.database, resources.settings, key_id, operator()))
    typer.echo(f"{key_id} opens nothing any more; take it out of MANNA_ENCRYPTION_KEYS_PREVIOUS")


@app.command("rotate-token")
def rotate_token(
    item_ids: Annotated[list[UUID], typer.Argument(help="Our ids of the Items.")],
    dry_run: DryRun = False,
) -> None:
    """Replace Items' access tokens by new ones of Plaid's. Example: manna keys rotate-token ID."""
    chosen = list(dict.fromkeys(item_ids))
    run(lambda resources: ensure_known(resources.database, chosen))
    if dry_run:
        typer.echo(f"would replace the access tokens of {len(chosen)} Items")
        return
    if run(lambda resources: _rotate_tokens(resources, chosen)):
        raise typer.Exit(1)


async def _rotate_tokens(resources: Resources, item_ids: list[UUID]) -> int:
    """Replace one after the other, tell how each ended, and return how many failed."""
    failed = 0
    for item_id in item_ids:
        try:
            await rotate_access_token(resources, item_id, operator())
        except (SyncError, LockNotAcquiredError) as error:
            failed += 1
            typer.echo(f"{item_id} failed: {error}")
        else:
            typer.echo(f"{item_id} replaced")
    return failed
