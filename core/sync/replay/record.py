"""The record of a replay: asked for, looked at, stopped, resumed. Who did so is in the audit log."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.broker.messages import AdvanceReplays
from core.database import Database
from core.errors import NotFoundError
from core.identity import new_id
from core.models import Replay, ReplayItem, ReplayState, ReplayStatus, SyncRun
from core.resources import Resources
from core.sync.replay.from_journal import find_pages
from core.sync.replay.selection import Selection, chosen

# A fifth of what Plaid allows a client: urgent syncs keep the rest.
RATE_PER_MINUTE = 500
LISTED = 100
SHOWN = tuple(column for column in Replay.__table__.columns if column.name not in {"fingerprint", "paced_at"})


async def create_replay(
    resources: Resources, selection: Selection, actor: str, rate_per_minute: int = RATE_PER_MINUTE
) -> dict[str, Any]:
    """Choose the failing Items that fit and begin to replay them; return the replay as `find_replay` does.

    Asked again while the replay is open it is that one which is returned, `is_new` false; an Item is in one open
    replay at a time. Recorded with who asked, in the transaction of the choice.

    Raises:
        NotFoundError: no failing Item fits that is not in an open replay already.
        PagesNotReplayableError: the one run that was named has no pages that may be applied.
    """
    if selection.from_journal and len(selection.ids) == 1:
        await _ensure_replayable(resources.database, selection.ids[0])
    async with resources.database.connection() as connection:
        replay_id, is_new = await _open(connection, selection, actor, rate_per_minute)
        if is_new:
            await _choose(connection, replay_id, selection, actor)
    if is_new:
        await resources.publisher.publish(AdvanceReplays())
    return {**await find_replay(resources.database, replay_id), "is_new": is_new}


async def _ensure_replayable(database: Database, named: UUID) -> None:
    """Tell why the one run that was named cannot be applied; of an Item's id the choice itself tells."""
    async with database.connection() as connection:
        is_run = (await connection.execute(select(SyncRun.id).where(SyncRun.id == named))).first()
    if is_run:
        await find_pages(database, named)


async def _open(
    connection: AsyncConnection, selection: Selection, actor: str, rate_per_minute: int
) -> tuple[UUID, bool]:
    values = {
        "id": new_id(),
        "asked_by": actor,
        "selection": selection.as_json(),
        "fingerprint": selection.fingerprint,
        "rate_per_minute": rate_per_minute,
        # The first one goes at once.
        "paced_at": func.now() - timedelta(seconds=60 / rate_per_minute),
    }
    opened = insert(Replay).values(values).on_conflict_do_nothing().returning(Replay.id)
    if (replay_id := (await connection.execute(opened)).scalar_one_or_none()) is not None:
        return replay_id, True
    same = (Replay.fingerprint == selection.fingerprint, Replay.status != ReplayStatus.FINISHED)
    found = (await connection.execute(select(Replay.id).where(*same))).scalar_one_or_none()
    # It may have finished in between.
    return (found, False) if found is not None else await _open(connection, selection, actor, rate_per_minute)


async def _choose(connection: AsyncConnection, replay_id: UUID, selection: Selection, actor: str) -> None:
    taken = chosen(selection).subquery()
    rows = select(literal(replay_id), taken.c.id, literal(0), taken.c.run_id)
    columns = [ReplayItem.replay_id, ReplayItem.item_id, ReplayItem.attempts, ReplayItem.run_id]
    # Another replay may choose an Item at this very moment: it is that one's.
    chosen_items = insert(ReplayItem).from_select(columns, rows).on_conflict_do_nothing()
    count = (await connection.execute(chosen_items)).rowcount
    if not count:
        raise NotFoundError(
            f"no failing Item fits ({selection}), or an open replay has it: `manna syncs list --status failed` shows"
            " the failed runs, `manna syncs replays` the replays"
        )
    what, message = AuditEventType.REPLAY_REQUESTED, "Somebody asked for failed runs to be replayed"
    context = AuditContext(replay_id=str(replay_id), count=count, filter=str(selection))
    resource = f"replay:{replay_id}"
    await log_audit_event(what, message, session=connection, context=context, actor=actor, resource=resource)


async def find_replay(database: Database, replay_id: UUID) -> dict[str, Any]:
    """Return a replay with its progress: Items by state, in all, and the failed ones by error code.

    Raises:
        NotFoundError: there is no such replay.
    """
    async with database.connection() as connection:
        row = (await connection.execute(select(*SHOWN).where(Replay.id == replay_id))).first()
    if row is None:
        raise NotFoundError(f"there is no replay {replay_id}; `manna syncs replays` shows those that there are")
    (found,) = await with_progress(database, [dict(row._mapping)])
    codes = (
        select(ReplayItem.error_code, func.count().label("items"))
        .where(ReplayItem.replay_id == replay_id, ReplayItem.state == ReplayState.FAILED)
        .group_by(ReplayItem.error_code)
        .order_by(func.count().desc())
    )
    async with database.connection() as connection:
        failed = {row.error_code: row.items for row in await connection.execute(codes)}
    return {**found, "failed_by_code": failed}


async def list_replays(database: Database, limit: int = LISTED) -> list[dict[str, Any]]:
    """Return up to `limit` replays with their progress, newest first."""
    async with database.connection() as connection:
        found = await connection.execute(select(*SHOWN).order_by(Replay.id.desc()).limit(limit))
        rows = [dict(row._mapping) for row in found]
    return await with_progress(database, rows)


async def with_progress(database: Database, replays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return replays with how many Items each has in all and by state."""
    states = [func.count().filter(ReplayItem.state == state).label(state.value) for state in ReplayState]
    query = (
        select(ReplayItem.replay_id, func.count().label("items"), *states)
        .where(ReplayItem.replay_id.in_([one["id"] for one in replays]))
        .group_by(ReplayItem.replay_id)
    )
    async with database.connection() as connection:
        counts = {row.replay_id: dict(row._mapping) for row in await connection.execute(query)}
    none = dict.fromkeys(("items", *(state.value for state in ReplayState)), 0)
    return [one | {name: counts.get(one["id"], none)[name] for name in none} for one in replays]


async def stop(database: Database, replay_id: UUID, actor: str) -> dict[str, Any]:
    """Send no more of a replay's Items; what is under way ends. Stopping a stopped or finished one changes nothing.

    Raises:
        NotFoundError: there is no such replay.
    """
    return await _turn(database, replay_id, actor, ReplayStatus.STOPPED, AuditEventType.REPLAY_STOPPED)


async def resume(resources: Resources, replay_id: UUID, actor: str) -> dict[str, Any]:
    """Go on with a stopped replay where it was; one that runs or is finished stays as it is.

    Raises:
        NotFoundError: there is no such replay.
    """
    what = AuditEventType.REPLAY_RESUMED
    found = await _turn(resources.database, replay_id, actor, ReplayStatus.RUNNING, what)
    await resources.publisher.publish(AdvanceReplays())
    return found


async def _turn(
    database: Database, replay_id: UUID, actor: str, status: ReplayStatus, what: AuditEventType
) -> dict[str, Any]:
    turnable = Replay.status.not_in([status, ReplayStatus.FINISHED])
    step = func.make_interval(0, 0, 0, 0, 0, 0, 60.0 / Replay.rate_per_minute)
    turned = update(Replay).where(Replay.id == replay_id, turnable).values(status=status, paced_at=func.now() - step)
    async with database.connection() as connection:
        if (await connection.execute(turned)).rowcount:
            message = f"Somebody {'stopped' if status is ReplayStatus.STOPPED else 'resumed'} a replay"
            context, resource = AuditContext(replay_id=str(replay_id)), f"replay:{replay_id}"
            await log_audit_event(what, message, session=connection, context=context, actor=actor, resource=resource)
    return await find_replay(database, replay_id)
