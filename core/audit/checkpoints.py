r"""Signed checkpoints: the Merkle root of a stretch of the chain, under a key that the database does not have.

Whoever owns the database could rewrite the chain from any place on, hashes and head included; not the signatures.
Checkpoints follow each other without a gap, each names the hash of the one before, and none crosses a month,
so that retention can drop a partition and leave a signed end. The signed bytes are::

    "manna-audit-checkpoint-v1\0" || [number, first_seq, last_seq, root, chain_hash, previous, signed_at] as JSON
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit.chain import instant
from core.audit.counting import CHECKPOINTS_SIGNED, count
from core.audit.merkle import leaf_of, root_of
from core.audit.signing import PublicKey, SigningKey
from core.database import Database
from core.models import AuditChain, AuditCheckpoint, AuditEvent

DOMAIN = b"manna-audit-checkpoint-v1\0"
FIRST_PREVIOUS = bytes(32)
EVENTS_A_CHECKPOINT = 10_000
LONGEST_UNSIGNED = timedelta(minutes=1)
SIGNER_LOCK = 0x6D616E6E62
EXPORT_FILE = "checkpoints.ndjson"
EXPORT_BATCH = 500

log = structlog.get_logger()


class Checkpoint(msgspec.Struct, frozen=True):
    """A signed statement about the events `first_seq` to `last_seq`. Bytes are hex, in the table and in exports."""

    number: int
    first_seq: int
    last_seq: int
    root: str
    chain_hash: str
    previous: str
    signed_at: datetime
    key_id: str
    signature: str

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        facts = (self.number, self.first_seq, self.last_seq, self.root, self.chain_hash, self.previous)
        return DOMAIN + msgspec.json.encode((*facts, instant(self.signed_at)))

    @property
    def digest(self) -> str:
        """What the next checkpoint names as `previous`."""
        return hashlib.sha256(self.signed_bytes).hexdigest()

    def is_signed_by(self, keys: dict[str, PublicKey]) -> bool:
        """Tell whether one of `keys` signed it."""
        key = keys.get(self.key_id)
        try:
            return key is not None and key.verifies(bytes.fromhex(self.signature), self.signed_bytes)
        except ValueError:
            return False

    def as_line(self) -> bytes:
        """Return it as a line of an export."""
        return msgspec.json.encode({**msgspec.structs.asdict(self), "signed_at": instant(self.signed_at)}) + b"\n"


FIELDS = tuple(getattr(AuditCheckpoint, name) for name in Checkpoint.__struct_fields__)


async def sign_checkpoints(database: Database, key: SigningKey, longest_unsigned: timedelta = LONGEST_UNSIGNED) -> int:
    """Sign what is due, and return how many checkpoints that made.

    Due is a stretch of 10,000 events, one that ends with its month, or one whose first event has waited for
    `longest_unsigned`. Any number of processes may try; one at a time does.
    """
    made = 0
    while await _sign_next(database, key, longest_unsigned):
        made += 1
    if made:
        count(CHECKPOINTS_SIGNED, made)
    return made


async def _sign_next(database: Database, key: SigningKey, longest_unsigned: timedelta) -> bool:
    async with database.connection() as connection:
        lock = text("SELECT pg_try_advisory_xact_lock(:lock), clock_timestamp()")
        is_ours, now = (await connection.execute(lock, {"lock": SIGNER_LOCK})).one()
        if not is_ours:
            return False
        last = await _last(connection)
        after = last.last_seq if last else 0
        if not await _is_due(connection, after, now - longest_unsigned):
            return False
        events = _of_one_month(await _unsigned(connection, after))
        made = _make(events, last, now, key)
        await connection.execute(insert(AuditCheckpoint).values(msgspec.structs.asdict(made)))
    # The log leaves the host: the root is known outside as soon as it is signed.
    log.info("audit_checkpoint", number=made.number, last_seq=made.last_seq, root=made.root, signature=made.signature)
    return True


async def _last(connection: AsyncConnection) -> Checkpoint | None:
    newest = select(*FIELDS).order_by(AuditCheckpoint.number.desc()).limit(1)
    row = (await connection.execute(newest)).first()
    return None if row is None else Checkpoint(*row)


async def _is_due(connection: AsyncConnection, after: int, waited_since: datetime) -> bool:
    first = select(AuditChain.seq, AuditChain.sealed_at, AuditEvent.sealed_at.label("first_sealed_at"))
    row = (await connection.execute(first.join(AuditEvent, AuditEvent.seq == after + 1))).first()
    if row is None:
        return False
    is_full = row.seq - after >= EVENTS_A_CHECKPOINT
    return is_full or row.first_sealed_at <= waited_since or _month(row.first_sealed_at) != _month(row.sealed_at)


async def _unsigned(connection: AsyncConnection, after: int) -> Sequence[Any]:
    columns = select(AuditEvent.seq, AuditEvent.sealed_at, AuditEvent.hash)
    query = columns.where(AuditEvent.seq > after, AuditEvent.seq <= after + EVENTS_A_CHECKPOINT)
    return (await connection.execute(query.order_by(AuditEvent.seq))).all()


def _of_one_month(events: Sequence[Any]) -> Sequence[Any]:
    months = [_month(event.sealed_at) for event in events]
    return events[: months.count(months[0])]


def _month(moment: datetime) -> tuple[int, int]:
    return moment.year, moment.month


def _make(events: Sequence[Any], last: Checkpoint | None, now: datetime, key: SigningKey) -> Checkpoint:
    leaves = [leaf_of(event.hash, event.sealed_at) for event in events]
    unsigned = Checkpoint(
        number=last.number + 1 if last else 1,
        first_seq=events[0].seq,
        last_seq=events[-1].seq,
        root=root_of(leaves).hex(),
        chain_hash=events[-1].hash.hex(),
        previous=last.digest if last else FIRST_PREVIOUS.hex(),
        signed_at=now,
        key_id=key.public.key_id,
        signature="",
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(unsigned.signed_bytes).hex())


async def read_checkpoints(connection: AsyncConnection, after: int, upto: int, newest: int) -> list[Checkpoint]:
    """Return the checkpoints up to number `newest` whose last event is numbered `after` + 1 to `upto`, in order."""
    within = (AuditCheckpoint.last_seq > after, AuditCheckpoint.last_seq <= upto, AuditCheckpoint.number <= newest)
    query = select(*FIELDS).where(*within).order_by(AuditCheckpoint.number)
    return [Checkpoint(*row) for row in await connection.execute(query)]


async def export_checkpoints(database: Database, directory: Path) -> int:
    """Append every checkpoint not exported yet to `checkpoints.ndjson` in `directory`, and return their number.

    On disk first, then marked: a crash in between writes a line twice, which readers take as one.

    Raises:
        OSError: the file cannot be written; nothing of the batch is marked.
    """
    exported = 0
    while batch := await _export_batch(database, directory / EXPORT_FILE):
        exported += batch
    return exported


async def _export_batch(database: Database, file: Path) -> int:
    async with database.connection() as connection:
        waiting = select(*FIELDS).where(AuditCheckpoint.exported_at.is_(None)).order_by(AuditCheckpoint.number)
        rows = await connection.execute(waiting.limit(EXPORT_BATCH).with_for_update(skip_locked=True))
        checkpoints = [Checkpoint(*row) for row in rows]
        if checkpoints:
            _append(file, b"".join(checkpoint.as_line() for checkpoint in checkpoints))
            numbers = [checkpoint.number for checkpoint in checkpoints]
            mark = update(AuditCheckpoint).where(AuditCheckpoint.number.in_(numbers))
            await connection.execute(mark.values(exported_at=text("now()")))
    return len(checkpoints)


def _append(file: Path, lines: bytes) -> None:
    with file.open("ab") as out:
        out.write(lines)
        out.flush()
        os.fsync(out.fileno())
