"""Promotes a key once every live process has it, and destroys one once nothing uses it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.database import Database
from core.encryption.keyring import KeyStatus
from core.errors import MannaError, NotFoundError
from core.models import EncryptionKey, JournalPage, KeyringReport
from core.rotation.membership import KEYS_LOCK, LIVE_REFRESHES, set_active, statuses_of
from core.rotation.proof import rows_by_key
from core.settings import Settings


class KeyInUseError(MannaError):
    """A key cannot move on yet: a process does not have it, seals with it, or values are sealed under it."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key as operators see it. `rows` are values sealed under it; `known_by` of `processes` live ones have it."""

    key_id: str
    status: KeyStatus
    uses: int
    rows: int
    known_by: int
    processes: int
    added_at: datetime
    promoted_at: datetime | None


async def key_states(database: Database, settings: Settings) -> list[KeyState]:
    """Return every key that was ever known, oldest first."""
    rows = await rows_by_key(database)
    async with database.transaction() as session:
        reports = await live_reports(session, settings)
        keys = (await session.scalars(select(EncryptionKey).order_by(EncryptionKey.added_at))).all()
    return [
        KeyState(
            key.key_id,
            key.status,
            key.uses,
            rows.get(key.key_id, 0),
            sum(key.key_id in report.key_ids for report in reports),
            len(reports),
            key.added_at,
            key.promoted_at,
        )
        for key in keys
    ]


async def promote(database: Database, settings: Settings, key_id: str, actor: str) -> str:
    """Make a pending key the one that seals, and return the id of the one before it.

    Raises:
        NotFoundError: the key is unknown.
        KeyInUseError: it is not pending, or a live process does not have it yet.
    """
    async with database.transaction() as session:
        await session.execute(select(func.pg_advisory_xact_lock(KEYS_LOCK)))
        statuses = await statuses_of(session)
        if _status(statuses, key_id) is not KeyStatus.PENDING:
            raise KeyInUseError(f"the key {key_id} is {statuses[key_id]}; only a pending key can be promoted")
        without = [r.process for r in await live_reports(session, settings) if key_id not in r.key_ids]
        if without:
            raise KeyInUseError(f"the key {key_id} is not known yet to {_named(without)}")
        old = next(known for known, status in statuses.items() if status is KeyStatus.ACTIVE)
        await set_active(session, old, key_id)
        await _record(session, AuditEventType.KEY_PROMOTED, "A key became the one that seals", actor, key_id, old)
    return old


async def destroy(database: Database, settings: Settings, key_id: str, actor: str) -> None:
    """Mark a key as destroyed: no process opens anything with it any more, and its secret can be deleted.

    Raises:
        NotFoundError: the key is unknown.
        KeyInUseError: it is the active one, a live process still seals with it, or values or pages of the journal are
            sealed under it.
    """
    rows = await rows_by_key(database)
    async with database.transaction() as session:
        await session.execute(select(func.pg_advisory_xact_lock(KEYS_LOCK)))
        status = _status(await statuses_of(session), key_id)
        if status in {KeyStatus.ACTIVE, KeyStatus.DESTROYED}:
            raise KeyInUseError(f"the key {key_id} is {status}; only a pending or decrypt-only key can be destroyed")
        sealing = [r.process for r in await live_reports(session, settings) if r.primary_key_id == key_id]
        if sealing:
            raise KeyInUseError(f"the key {key_id} still seals in {_named(sealing)}")
        if rows.get(key_id):
            raise KeyInUseError(f"{rows[key_id]} rows are under the key {key_id}; run manna keys rotate first")
        await _ensure_not_in_journal(session, key_id)
        await session.execute(
            update(EncryptionKey)
            .where(EncryptionKey.key_id == key_id)
            .values(status=KeyStatus.DESTROYED, destroyed_at=func.now())
        )
        await _record(session, AuditEventType.KEY_DESTROYED, "A key was destroyed", actor, key_id)


async def _ensure_not_in_journal(session: AsyncSession, key_id: str) -> None:
    # Pages live for days: they are not sealed anew, they keep their key until they are dropped.
    under_it = select(func.count(), func.max(JournalPage.recorded_on)).where(JournalPage.key_id == key_id)
    pages, last = (await session.execute(under_it)).one()
    if pages:
        raise KeyInUseError(
            f"{pages} pages of the journal are under the key {key_id}, the last of {last}; wait until they are dropped,"
            " or have all of it dropped within the hour by PAGE_JOURNAL_DAYS=0"
        )


async def live_reports(session: AsyncSession, settings: Settings) -> list[Any]:
    """Return the reports of the processes that reported lately."""
    lately = func.now() - timedelta(seconds=settings.keyring_refresh_seconds * LIVE_REFRESHES)
    return list((await session.scalars(select(KeyringReport).where(KeyringReport.reported_at > lately))).all())


async def laggards(database: Database, settings: Settings, key_id: str) -> list[str]:
    """Return the live processes that do not seal with this key yet."""
    async with database.transaction() as session:
        return [r.process for r in await live_reports(session, settings) if r.primary_key_id != key_id]


def _status(statuses: dict[str, KeyStatus], key_id: str) -> KeyStatus:
    if key_id not in statuses:
        raise NotFoundError(f"there is no key {key_id}; `manna keys status` shows those that there are")
    return statuses[key_id]


def _named(processes: list[str], shown: int = 5) -> str:
    more = f" and {len(processes) - shown} more" if len(processes) > shown else ""
    return ", ".join(sorted(processes)[:shown]) + more


async def _record(  # noqa: PLR0913, PLR0917 - an event's facts, in the order in which they are told
    session: AsyncSession, event: AuditEventType, message: str, actor: str, key_id: str, previous: str | None = None
) -> None:
    context = AuditContext(key_id=key_id, previous_key_id=previous)
    await log_audit_event(event, message, session=session, context=context, actor=actor, resource=f"key:{key_id}")
