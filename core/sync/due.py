"""Finds the Items that are due and puts them on the queue; any number of dispatchers may do so at once."""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, any_, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from core.broker.messages import ITEMS_A_MESSAGE, Queue, SyncItem, SyncItems
from core.broker.waiting import read_waiting
from core.database import Database
from core.identity import jittered
from core.models import ItemSchedule, PlaidItem, SyncTrigger
from core.resources import Resources
from core.sync.breaker import PLAID, OpenBreakers, claim_probes, open_breakers, release_parked
from core.sync.resend import CLAIM_SECONDS, tick, unclaim
from core.sync.sweep import sweep

log = structlog.get_logger()

CLAIM_LIMIT = 1000
# How long a held-back Item is left alone if nothing lets it go earlier.
PARK_SECONDS = 3600
RELEASE_SECONDS = 120
RELEASE_LIMIT = 5000
# As many messages may wait on the schedule's queues, 3,000 Items: at the rate that Plaid allows they are worked off
# well within the time of their claims. Those of a longer queue would be claimed, queued and synced a second time.
MOST_WAITING = 60


async def dispatch_due(resources: Resources) -> int:
    """Send every due Item to the queue of its kind, and return how many that were.

    An Item is claimed, by moving its `due_at`, before its message is sent: a crash in between delays it by
    five minutes and loses nothing, and a message that the broker does not take ends the claim. Items of an
    institution that is down are held back, one at a time is tried; while Plaid refuses us altogether, nothing is
    claimed at all. Nor is it while the queues are long: what is due stays so, and is taken by a later tick.
    """
    await tick(resources)
    await sweep(resources)
    async with resources.database.connection() as connection:
        await release_parked(connection, RELEASE_SECONDS, RELEASE_LIMIT)
        probes = await claim_probes(connection)
        breakers = await open_breakers(connection)
    for item_id in probes:
        await resources.publisher.publish(SyncItem(item_id, SyncTrigger.SCHEDULED))
    if PLAID in breakers.probes:
        return len(probes)
    return len(probes) + await _dispatch(resources, breakers)


async def _dispatch(resources: Resources, breakers: OpenBreakers) -> int:
    total, claimed, is_sent = 0, CLAIM_LIMIT, True
    while is_sent and claimed == CLAIM_LIMIT and await _waiting(resources) < MOST_WAITING:
        rows = await claim_due(resources.database, breakers)
        claimed = len(rows)
        for trigger in (SyncTrigger.SCHEDULED, SyncTrigger.BACKFILL):
            of_kind = [item_id for item_id, kind in rows if kind is trigger]
            is_sent &= await _send(resources, of_kind, trigger)
            total += len(of_kind)
    if total:
        log.info("due_items_dispatched", items=total)
    return total


async def _send(resources: Resources, item_ids: Sequence[UUID], trigger: SyncTrigger) -> bool:
    """Send claimed Items, and tell whether the broker has all of them; of those that it has not the claim ends."""
    lost = [
        item_id
        for part in _in_messages(item_ids)
        if not await resources.publisher.publish(SyncItems(part, trigger))
        for item_id in part
    ]
    if lost:
        await unclaim(resources.database, lost)
    return not lost


async def _waiting(resources: Resources) -> int:
    waiting = await read_waiting(resources.settings, resources.redis)
    return sum(waiting[queue].messages for queue in (Queue.SCHEDULED, Queue.BACKFILL))


async def claim_due(
    database: Database, breakers: OpenBreakers | None = None, limit: int = CLAIM_LIMIT
) -> list[tuple[UUID, SyncTrigger | None]]:
    """Claim up to `limit` due Items, longest due first, and return each with its kind; None: it was held back.

    An Item never synced before is a backfill. Rows that another dispatcher is claiming are stepped over, not
    waited for.
    """
    async with database.connection() as connection:
        claimed = {row.item_id: row.never_synced for row in await connection.execute(_claim(limit))}
        held = breakers.institutions if breakers else []
        parked = await _park(connection, claimed, held) if held else set()
    return [(item_id, None if item_id in parked else _kind(is_new=is_new)) for item_id, is_new in claimed.items()]


def _claim(limit: int) -> ReturningUpdate[UUID, bool]:
    # By their places, not their keys: the rows have just been read there, and the key's index is read nowhere. One
    # that moves at this very moment is passed over, and still due.
    place: ColumnElement[Any] = literal_column("item_schedules.ctid")
    row = ItemSchedule
    due = select(place).where(row.due_at <= func.now()).order_by(row.due_at).limit(limit)
    places = func.array(due.with_for_update(skip_locked=True).scalar_subquery())
    claim = update(row).where(place == any_(places)).values(due_at=func.now() + _rest(CLAIM_SECONDS))
    return claim.returning(row.item_id, row.never_synced)


async def _park(connection: AsyncConnection, claimed: Collection[UUID], institutions: Sequence[str]) -> set[UUID]:
    """Hold back those of the claimed Items whose institution is down, and return which they are."""
    item = PlaidItem
    held = select(item.id).where(item.id.in_(list(claimed)), item.institution_id.in_(institutions))
    # One that was removed or given up since its claim began has no time, and gets none.
    held = held.where(item.next_sync_at.is_not(None))
    # Whoever commits such an Item just now waits for its row in the schedule, which is ours: waiting for the Item in
    # turn would be a deadlock. It is sent, and the breaker holds it back at its run.
    free = held.with_for_update(skip_locked=True).scalar_subquery()
    at, since = func.now() + _rest(PARK_SECONDS), func.coalesce(item.parked_at, func.now())
    park = update(item).where(item.id.in_(free)).values(next_sync_at=at, parked_at=since)
    return set(await connection.scalars(park.returning(item.id)))


def _rest(seconds: float) -> timedelta:
    return timedelta(seconds=jittered(seconds))


def _kind(*, is_new: bool) -> SyncTrigger:
    return SyncTrigger.BACKFILL if is_new else SyncTrigger.SCHEDULED


def _in_messages(item_ids: Sequence[UUID]) -> Iterator[tuple[UUID, ...]]:
    for start in range(0, len(item_ids), ITEMS_A_MESSAGE):
        yield tuple(item_ids[start : start + ITEMS_A_MESSAGE])
