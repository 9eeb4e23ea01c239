"""A process's place in the staged rotation: it reports which keys it has, and follows what is agreed about them.

A key may seal only once every live process can open what it seals. So each process writes down its keys every
few seconds, the database holds which key is the active one, and promotion (`core.rotation.promotion`) reads the
reports under the same lock under which a starting process writes its first.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.database import Database
from core.encryption.cipher import FieldKey
from core.encryption.keyring import Keyring, KeyStatus, current_keyring, install_keyring
from core.encryption.provider import EncryptionKeyProvider, fingerprint
from core.errors import ConfigurationError, UnavailableError
from core.identity import jittered, new_id
from core.models import EncryptionKey, KeyringReport
from core.secrets import secrets_manager
from core.settings import Settings

log = structlog.get_logger()

# One at a time among joining, promoting and destroying; the transactions under it are a few statements long.
KEYS_LOCK = 0x6D6B6579
LIVE_REFRESHES = 6
# What PostgreSQL answers while it is not set up yet, by SQLSTATE: no such table, no right to it.
NOT_READY = {
    "42P01": "the database is not migrated: run alembic upgrade head",
    "42501": "the log-in has no rights on the tables: run manna security setup-database",
}


@contextlib.asynccontextmanager
async def keyring_followed(database: Database, settings: Settings) -> AsyncIterator["KeyringMember"]:
    """Take part in the rotation while the body runs: report at once and every few seconds, and leave at the end.

    Raises:
        ConfigurationError: the active key is not among this process's (production only), or no key is.
        UnavailableError: the database has not been migrated.
    """
    member = KeyringMember(database, settings)
    await member.join()
    following = asyncio.create_task(member.follow())
    try:
        yield member
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await member.leave()


class KeyringMember:
    """One process among those that share a database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._id = new_id()
        self._fingerprint = b""
        # Two refreshes at once could report in the other order than they loaded.
        self._refreshing = asyncio.Lock()
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    async def join(self) -> None:
        """Report for the first time, and install the keyring as the database has it."""
        try:
            await self.refresh()
        except ProgrammingError as error:
            if (reason := NOT_READY.get(str(getattr(error.orig, "sqlstate", "")))) is None:
                raise
            raise UnavailableError(reason) from None

    async def refresh(self) -> None:
        """Read this process's keys anew, report them, and follow a promotion.

        Raises:
            ConfigurationError: see `keyring_followed`; the keyring installed before stays.
        """
        async with self._refreshing:
            await self._refresh()

    async def _refresh(self) -> None:
        # The secrets' provider, and what unwraps a key, may be on the network.
        keyring = await asyncio.to_thread(self._load)
        if not keyring.enabled:
            install_keyring(keyring)
            return
        async with self._database.transaction() as session:
            await session.execute(select(func.pg_advisory_xact_lock(KEYS_LOCK)))
            statuses = await _register(session, keyring)
            keyring = await self._agreed(session, keyring, statuses)
            await self._report(session, keyring)
            counted = await _count_uses(session, keyring)
        for key, added, total in counted:
            key.uses.reported(added, total)
        install_keyring(keyring)

    async def follow(self) -> None:
        """Refresh for ever; while that fails the process goes on with the keyring that it has."""
        while True:
            await asyncio.sleep(jittered(self._settings.keyring_refresh_seconds))
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - a loop that ended here would end every rotation without a word
                # Its kind says enough: the text of a driver's error is long, and repeats every few seconds.
                log.error("keyring_refresh_failed", error=type(error).__name__)  # noqa: TRY400 - as said

    async def leave(self) -> None:
        """Count the last seals and take the report back; without a database the report just grows old."""
        with contextlib.suppress(SQLAlchemyError, OSError):
            async with self._database.transaction() as session:
                await _count_uses(session, current_keyring())
                await session.execute(delete(KeyringReport).where(KeyringReport.process_id == self._id))

    def _load(self) -> Keyring:
        # As the providers have them now: the values that the process holds may be half a minute old.
        found = fingerprint(secrets_manager.look_up)
        keyring = (
            current_keyring()
            if found == self._fingerprint
            else EncryptionKeyProvider.load_keyring(self._settings, secrets_manager.look_up)
        )
        self._fingerprint = found
        return keyring

    async def _agreed(self, session: AsyncSession, keyring: Keyring, statuses: Mapping[str, KeyStatus]) -> Keyring:
        try:
            return keyring.under(statuses)
        except KeyError as missing:
            active = str(missing.args[0])
        if self._settings.is_production:
            raise ConfigurationError(
                f"Encryption not initialized: the active key {active} is neither MANNA_ENCRYPTION_KEY "
                "nor one of MANNA_ENCRYPTION_KEYS_PREVIOUS"
            )
        log.error("active_key_unknown", key_id=active, consequence="what it sealed does not open here")
        await set_active(session, active, keyring.wanted)
        return keyring

    async def _report(self, session: AsyncSession, keyring: Keyring) -> None:
        values = {
            "process": self._name,
            "key_ids": list(keyring.key_ids),
            "primary_key_id": keyring.primary.key_id,
            "reported_at": func.clock_timestamp(),
        }
        statement = insert(KeyringReport).values(process_id=self._id, **values)
        await session.execute(statement.on_conflict_do_update(index_elements=["process_id"], set_=values))


async def set_active(session: AsyncSession, old: str, new: str) -> None:
    """Make `new` the key that seals and `old` one that only opens."""
    for key_id, status, moment in (
        (old, KeyStatus.DECRYPT_ONLY, EncryptionKey.retired_at),
        (new, KeyStatus.ACTIVE, EncryptionKey.promoted_at),
    ):
        changed = update(EncryptionKey).where(EncryptionKey.key_id == key_id)
        await session.execute(
            changed.values({EncryptionKey.status: status, moment: func.now()}),
            execution_options={"synchronize_session": False},
        )


async def statuses_of(session: AsyncSession) -> dict[str, KeyStatus]:
    """Return how each key stands, by its id."""
    rows = await session.execute(select(EncryptionKey.key_id, EncryptionKey.status))
    return {row.key_id: row.status for row in rows}


async def _register(session: AsyncSession, keyring: Keyring) -> dict[str, KeyStatus]:
    statuses = await statuses_of(session)
    new = [key_id for key_id in keyring.key_ids if key_id not in statuses]
    if not new:
        return statuses
    first_of_all = KeyStatus.ACTIVE not in statuses.values()
    for key_id in new:
        status = _first_status(wanted=key_id == keyring.wanted, first_of_all=first_of_all)
        promoted = func.now() if status is KeyStatus.ACTIVE else None
        await session.execute(insert(EncryptionKey).values(key_id=key_id, status=status, promoted_at=promoted))
        if not first_of_all:
            await log_audit_event(
                AuditEventType.KEY_ADDED,
                "A field-encryption key became known",
                session=session,
                context=AuditContext(key_id=key_id),
                resource=f"key:{key_id}",
            )
    return await statuses_of(session)


def _first_status(*, wanted: bool, first_of_all: bool) -> KeyStatus:
    if first_of_all:
        return KeyStatus.ACTIVE if wanted else KeyStatus.DECRYPT_ONLY
    return KeyStatus.PENDING


async def _count_uses(session: AsyncSession, keyring: Keyring) -> list[tuple[FieldKey, int, int]]:
    """Add this process's seals to the common count; return for each key what was added and what the count is then."""
    counted = []
    for key in keyring.keys:
        added = key.uses.unreported()
        statement = update(EncryptionKey).where(EncryptionKey.key_id == key.key_id)
        total = await session.execute(
            statement.values(uses=EncryptionKey.uses + added).returning(EncryptionKey.uses),
            execution_options={"synchronize_session": False},
        )
        counted += [(key, added, uses) for uses in total.scalars()]
    return counted
