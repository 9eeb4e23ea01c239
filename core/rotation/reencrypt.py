"""Online re-encryption: batch by batch every value comes under the active key, while syncs go on.

There is no state but the values themselves. A batch is one transaction: it locks what nobody is writing, seals it
anew, and writes each value only over the very envelope that it opened. Killed anywhere, the next run goes on with
what is still under another key; two runs at once take turns. An Item's `version` does not change, because its
token does not: a sync under way loses nothing.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Select, Text, bindparam, column, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.outbox import SYSTEM
from core.database import Database
from core.encryption.cipher import context_of
from core.encryption.keyring import Keyring, current_keyring
from core.errors import ConfigurationError, EncryptionError
from core.rotation.proof import SealedColumn, rows_by_key, sealed_columns

REENCRYPT_LOCK = 0x6D726F74
BATCH = 500
IDLE_PASSES = 30
IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch did; `after` is the key of the last row that it looked at, None at the end of the column."""

    after: tuple[Any, ...] | None
    rewritten: int = 0
    unreadable: int = 0


@dataclass(slots=True)
class Reencryption:
    """How a re-encryption stands: `remaining` are under other keys, `unreadable` those of them that do not open."""

    key_id: str
    rewritten: int = 0
    unreadable: int = 0
    remaining: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do that could be done."""
        return self.remaining <= self.unreadable


async def reencrypt(
    database: Database,
    *,
    rows_per_second: int = 0,
    seconds: float | None = None,
    actor: str = SYSTEM,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Reencryption:
    """Bring every value under the active key, and return with a count of what is not.

    Args:
        database: where the values are.
        rows_per_second: the throttle; 0 is none.
        seconds: after this long it stops between two batches, and `complete` tells.
        actor: who asked, for the audit log.
        on_progress: told the number of values of each batch.

    Raises:
        ConfigurationError: encryption is switched off.
        KeyExhaustedError: the active key is used up.
    """
    if not current_keyring().enabled:
        raise ConfigurationError("FIELD_ENCRYPTION_ENABLED is off: there is no key to re-encrypt under")
    state = Reencryption(current_keyring().primary.key_id)
    until = None if seconds is None else time.monotonic() + seconds
    await _record(database, AuditEventType.KEY_ROTATION_STARTED, "Re-encryption began", state, actor)
    idle = 0
    while idle <= IDLE_PASSES:
        before = state.rewritten
        ended = await _pass(database, state, rows_per_second, until, on_progress)
        state.remaining = await rows_under_other_keys(database, state.key_id)
        if state.complete or not ended:
            break
        idle = idle + 1 if state.rewritten == before else 0
        # What is left was locked by somebody who is writing it.
        await asyncio.sleep(IDLE_SECONDS if idle else 0)
    await _record(database, AuditEventType.KEY_ROTATION_FINISHED, "Re-encryption ended", state, actor)
    return state


async def rows_under_other_keys(database: Database, key_id: str) -> int:
    """Return the proof: how many stored values are not under this key."""
    counts = await rows_by_key(database)
    return counts.total() - counts[key_id]


async def _pass(
    database: Database,
    state: Reencryption,
    rows_per_second: int,
    until: float | None,
    on_progress: Callable[[int], None],
) -> bool:
    """Look at every value once, and tell whether time sufficed."""
    state.unreadable = 0
    for sealed in sealed_columns():
        after: tuple[Any, ...] | None = ()
        while after is not None:
            begun = time.monotonic()
            if until is not None and begun > until:
                return False
            async with database.transaction() as session:
                batch = await _rewrite(session, sealed, after, current_keyring())
            after = batch.after
            state.rewritten += batch.rewritten
            state.unreadable += batch.unreadable
            on_progress(batch.rewritten)
            if rows_per_second:
                await asyncio.sleep(max(0.0, batch.rewritten / rows_per_second - (time.monotonic() - begun)))
    return True


async def _rewrite(session: AsyncSession, sealed: SealedColumn, after: tuple[Any, ...], keyring: Keyring) -> Batch:
    await session.execute(select(func.pg_advisory_xact_lock(REENCRYPT_LOCK)))
    rows = (await session.execute(_candidates(sealed, after, keyring.primary.tag))).all()
    if not rows:
        return Batch(None)
    changes = [(*key, old, new) for *key, old in rows if (new := _anew(sealed, key, old, keyring)) is not None]
    if changes:
        await session.execute(_write(sealed), _columns(changes))
    unreadable = len(rows) - len(changes)
    if unreadable:
        await _record_batch(session, AuditEventType.DECRYPTION_FAILED, "Values did not open", sealed, unreadable)
    await _record_batch(
        session, AuditEventType.KEY_ROTATION_BATCH, "Values were re-encrypted", sealed, len(changes), keyring
    )
    return Batch(tuple(rows[-1][:-1]), len(changes), unreadable)


def _candidates(sealed: SealedColumn, after: tuple[Any, ...], tag: str) -> Select[Any]:
    key = list(sealed.table.primary_key.columns)
    query = select(*key, sealed.text).where(sealed.tag != tag).order_by(*key).limit(BATCH)
    if after:
        query = query.where(tuple_(*key) > tuple_(*after))
    return query.with_for_update(skip_locked=True, key_share=True)


def _anew(sealed: SealedColumn, key: list[Any], old: str, keyring: Keyring) -> str | None:
    context = context_of(sealed.table.name, sealed.column.name, *key)
    try:
        text = keyring.open(old, context)
    except EncryptionError:
        return None
    return keyring.seal(text, context)


def _write(sealed: SealedColumn) -> Any:
    """Return the statement that writes new envelopes over exactly the old ones."""
    key = list(sealed.table.primary_key.columns)
    names = [f"k{number}" for number in range(len(key))]
    kinds = [part.type for part in key]
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in zip(names, kinds, strict=True)]
    arrays += [bindparam("old", type_=ARRAY(Text)), bindparam("new", type_=ARRAY(Text))]
    columns = [column(name, kind) for name, kind in zip(names, kinds, strict=True)]
    columns += [column("old", Text), column("new", Text)]
    given = func.unnest(*arrays).table_valued(*columns).render_derived(name="given")
    same_row = [part == given.c[name] for part, name in zip(key, names, strict=True)]
    return update(sealed.table).where(*same_row, sealed.text == given.c.old).values({sealed.column: given.c.new})


def _columns(changes: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    *keys, old, new = (list(values) for values in zip(*changes, strict=True))
    return {**{f"k{number}": values for number, values in enumerate(keys)}, "old": old, "new": new}


async def _record_batch(  # noqa: PLR0913, PLR0917 - an event's facts, in the order in which they are told
    session: AsyncSession,
    event: AuditEventType,
    message: str,
    sealed: SealedColumn,
    count: int,
    keyring: Keyring | None = None,
) -> None:
    key_id = keyring.primary.key_id if keyring else None
    context = AuditContext(table=str(sealed.table.name), column=str(sealed.column.name), count=count, key_id=key_id)
    await log_audit_event(event, message, session=session, context=context)


async def _record(database: Database, event: AuditEventType, message: str, state: Reencryption, actor: str) -> None:
    context = AuditContext(
        key_id=state.key_id, count=state.rewritten, remaining=state.remaining, failed=state.unreadable
    )
    resource = f"key:{state.key_id}"
    await log_audit_event(event, message, database=database, context=context, actor=actor, resource=resource)
