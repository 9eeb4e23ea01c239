"""`manna keys import-tokens`: takes over access tokens that another library encrypted, from the table or a file."""

from typing import Annotated, Any

import typer

from cli.item_lines import read_items, read_text
from cli.progress import progress
from cli.session import operator, run
from core.audit import AuditEventType
from core.encryption import current_keyring
from core.items.registration import register_items
from core.resources import Resources
from core.rotation.legacy import Reveal, TokenFormat, revealer
from core.rotation.stored_tokens import seal_stored_tokens


def import_tokens(
    token_format: Annotated[TokenFormat, typer.Option("--format", help="How the tokens are stored now.")],
    file: Annotated[
        str | None, typer.Argument(help="Items to register, one JSON object a line; the table plaid_items if left out.")
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(help="A file with the key; for multifernet one key a line, newest first.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read every token, write nothing.")] = False,
) -> None:
    """Seal tokens of sqlalchemy-utils or MultiFernet.

    Example: manna keys import-tokens --format multifernet --key-file keys.txt.

    Every token is read before the first is written: a wrong key changes nothing.
    """
    reveal = revealer(token_format, read_text(key_file) if key_file else "")
    if file is None:
        sealed = run(lambda resources: _in_place(resources, reveal, dry_run=dry_run))
        typer.echo(f"{sealed} tokens {'would be ' if dry_run else ''}sealed")
        return
    items = read_items(file, reveal)
    if dry_run:
        typer.echo(f"{len(items)} Items would be registered")
        return
    with progress("registering", len(items)) as advance:
        ids = run(lambda resources: register_items(resources.database, items, operator(), advance))
    typer.echo(f"{len(ids)} registered, {len(items) - len(ids)} were there already")


async def _in_place(resources: Resources, reveal: Reveal, *, dry_run: bool) -> int:
    async def seal(*, only_read: bool, on_progress: Any = lambda _: None) -> int:
        return await seal_stored_tokens(
            resources.database.connection,
            reveal,
            current_keyring,
            event=AuditEventType.TOKENS_IMPORTED,
            actor=operator(),
            dry_run=only_read,
            on_progress=on_progress,
        )

    total = await seal(only_read=True)
    if dry_run or not total:
        return total
    with progress("sealing", total) as advance:
        return await seal(only_read=False, on_progress=advance)
