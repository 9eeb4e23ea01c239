"""`manna items register-webhooks`: Items that were imported, or linked while PUBLIC_URL was another, announce here."""

from typing import Annotated
from uuid import UUID

import typer

from cli.output import print_told
from cli.progress import progress
from cli.session import run
from core.errors import ConfigurationError
from core.items.webhook_registration import count_elsewhere, register_due, request_registrations
from core.queries.items import ensure_known
from core.resources import Resources

NOT_SET = "PUBLIC_URL is not set; accepted is the address at which Plaid reaches this service, https://YOUR-HOST"


def register_webhooks(
    item_ids: Annotated[
        list[UUID] | None,
        typer.Argument(help="Our ids of the Items; all that announce themselves elsewhere if left out."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Register here and now, instead of leaving it to a worker.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how many it would be.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have Plaid send Items' webhooks to PUBLIC_URL. Example: manna items register-webhooks --dry-run.

    For Items that were imported, and for all of them after PUBLIC_URL has changed. Interrupted, a worker goes on.
    """
    run(lambda resources: _run(resources, item_ids or [], wait=wait, dry_run=dry_run, as_json=as_json))


async def _run(resources: Resources, item_ids: list[UUID], *, wait: bool, dry_run: bool, as_json: bool) -> None:
    wanted, database = resources.settings.webhook_url, resources.database
    if wanted is None:
        raise ConfigurationError(NOT_SET)
    await ensure_known(database, item_ids)
    if dry_run:
        items = len(set(item_ids)) or await count_elsewhere(database, wanted)
        told = f"the webhooks of {items} Items would be sent to {wanted}; nothing was done"
        print_told({"items": items, "webhook_url": wanted}, told, as_json)
        return
    items = await request_registrations(database, wanted, item_ids)
    if not wait:
        told = f"{items} Items noted; a worker has Plaid send their webhooks to {wanted}"
        print_told({"items": items, "webhook_url": wanted}, told, as_json)
        return
    with progress("registering", items) as advance:
        agreed = await register_due(resources, advance)
    told = f"Plaid agreed for {agreed} of {items} Items just now, the worker asks again for the rest"
    print_told({"items": items, "agreed": agreed, "webhook_url": wanted}, told, as_json)
