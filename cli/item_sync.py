"""`manna items sync`: Items are sent for, or synced here and now."""

import asyncio
import sys
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import typer

from cli.output import print_told
from cli.progress import progress
from cli.session import run
from core.errors import MannaError, NotFoundError
from core.models import ItemStatus, RunStatus, SyncTrigger
from core.queries.items import ItemFilter, ensure_known, find_items
from core.resources import Resources
from core.sync.sync_item import sync_item

PAGE = 1000
SENT_AT_ONCE = 500


def sync(  # noqa: PLR0913, PLR0917 - one option a choice
    item_ids: Annotated[list[UUID] | None, typer.Argument(help="Our ids of the Items.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every Item that is not removed.")] = False,
    status: Annotated[ItemStatus | None, typer.Option(help="Every Item of this status.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Sync here and now, and tell how each ended.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell how many it would be.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sync Items. Example: manna items sync --status error --wait.

    Interrupted, the same command goes on: what waits in a queue is not sent twice, what is synced has nothing to do.
    """
    if [bool(item_ids), every, status is not None].count(True) != 1:
        raise typer.BadParameter("name Items by their ids, or give --all or --status; one of the three")
    if status is ItemStatus.REMOVED:
        raise typer.BadParameter("removed Items are not synced any more")
    if run(lambda resources: _run(resources, item_ids, status, wait=wait, dry_run=dry_run, as_json=as_json)):
        raise typer.Exit(1)


async def _run(  # noqa: PLR0913 - as above
    resources: Resources,
    item_ids: list[UUID] | None,
    status: ItemStatus | None,
    *,
    wait: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Do what was asked for and return how many failed."""
    chosen = await _chosen(resources, item_ids, status)
    if dry_run:
        print_told({"items": len(chosen)}, f"{len(chosen)} Items would be synced; nothing was done", as_json)
        return 0
    if not wait:
        await _send(resources, chosen)
        print_told({"sent": len(chosen)}, f"{len(chosen)} of {len(chosen)} sent to the queue", as_json)
        return 0
    with progress("syncing", len(chosen)) as advance:
        # Lines are for people; JSON is one document at the end.
        ended = [_sync_here(resources, item_id, advance, is_told=not as_json) for item_id in chosen]
        failed = sum(await asyncio.gather(*ended))
    print_told({"done": len(chosen), "failed": failed}, f"{len(chosen)} done, {failed} failed", as_json)
    return failed


async def _chosen(resources: Resources, item_ids: list[UUID] | None, status: ItemStatus | None) -> list[UUID]:
    if item_ids:
        await ensure_known(resources.database, item_ids)
        return list(dict.fromkeys(item_ids))
    chosen, cursor = list[UUID](), None
    while True:
        found = await find_items(resources.database, ItemFilter(status=status), PAGE, cursor)
        chosen += [row["id"] for row in found.data if row["status"] is not ItemStatus.REMOVED]
        cursor = found.next_cursor
        if cursor is None:
            return chosen


async def _send(resources: Resources, chosen: list[UUID]) -> None:
    with progress("sending", len(chosen)) as advance:
        for start in range(0, len(chosen), SENT_AT_ONCE):
            batch = chosen[start : start + SENT_AT_ONCE]
            if not await resources.publisher.publish_each_once(batch, SyncTrigger.MANUAL):
                raise MannaError(f"the broker is away, after {start} of {len(chosen)}; give the same command again")
            advance(len(batch))


async def _sync_here(resources: Resources, item_id: UUID, advance: Callable[[int], None], *, is_told: bool) -> bool:
    """Sync an Item, and return whether it failed."""
    async with resources.slots:
        try:
            outcome = await sync_item(resources, item_id, SyncTrigger.MANUAL)
        except NotFoundError:
            # Removed since it was chosen: the others are synced all the same.
            status, code = RunStatus.FAILED, "REMOVED"
        else:
            status, code = outcome.status, outcome.error_code or ""
    advance(1)
    if is_told:
        sys.stdout.write(f"{item_id} {status.value} {code}".rstrip() + "\n")
    return status is RunStatus.FAILED
