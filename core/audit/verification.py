"""Walks along the whole chain and its checkpoints: what was sealed stands there still, whole and in order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text

from core.audit.chain import Link, SealedEvent, broken_at
from core.audit.checkpoints import EVENTS_A_CHECKPOINT, FIRST_PREVIOUS, Checkpoint, read_checkpoints
from core.audit.events import AuditEventType
from core.audit.merkle import leaf_of, root_of
from core.audit.reading import RANGE, read_range
from core.audit.signing import PublicKey
from core.database import Database

# One statement, one snapshot: a consumer that seals meanwhile moves neither against the other.
ENDS = """
SELECT seq, hash, (SELECT max(seq) FROM audit_events) AS last, (SELECT min(seq) FROM audit_events) AS first,
    (SELECT coalesce(max(number), 0) FROM audit_checkpoints) AS newest_checkpoint
FROM audit_chain
"""
RETIRED_RANGE = 1_000_000


class ChainBrokenError(Exception):
    """Ends a walk; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk found; `problem` is None when all holds.

    Attributes:
        events: how many were walked along.
        head: the end of the chain, or the last link that holds.
        checkpoints: how many signatures were verified.
        signed_through: the last event that a signature covers; what follows rests on the hash chain alone.
        problem: the first thing that does not hold, in one sentence.
    """

    events: int
    head: Link
    checkpoints: int = 0
    signed_through: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a walk begins and ends: the head, the first event that stands there, the newest checkpoint's number."""

    head: Link
    first: int | None
    newest_checkpoint: int


@dataclass(slots=True)
class Walk:
    """How far a walk has come: the last link, and what the next checkpoint has to say."""

    keys: dict[str, PublicKey]
    outside: dict[int, Checkpoint] = field(default_factory=dict)
    link: Link = field(default_factory=Link)
    events: int = 0
    checkpoints: int = 0
    signed_through: int = 0
    sealed_at: datetime | None = None
    next_number: int = 1
    previous: str = FIRST_PREVIOUS.hex()
    leaves: list[bytes] = field(default_factory=list)
    retired_through: int = 0
    retirements: set[int] = field(default_factory=set)

    def pass_event(self, event: SealedEvent) -> None:
        """Go one event further.

        Raises:
            ChainBrokenError: it does not follow from the one before it.
        """
        following = self.link.next(event.content)
        if problem := broken_at(event, self.link, following):
            raise ChainBrokenError(problem)
        if self.sealed_at is not None and event.sealed_at < self.sealed_at:
            raise ChainBrokenError(f"event {event.seq} claims to be sealed before the one that it follows")
        self.sealed_at = event.sealed_at
        # No checkpoint covers more: without a signer this would grow with the chain.
        if len(self.leaves) <= EVENTS_A_CHECKPOINT:
            self.leaves.append(leaf_of(event.hash, event.sealed_at))
        self.link = following
        self.events += 1
        if event.content.event_type == AuditEventType.PARTITION_RETIRED:
            self.retirements.add(event.content.context.get("last_seq", 0))

    def pass_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Compare a checkpoint with the events that it speaks of, all of them just walked along.

        Raises:
            ChainBrokenError: it is not the next one, not signed, or speaks of other events.
        """
        self._expect(checkpoint)
        if checkpoint.chain_hash != self.link.hash.hex() or checkpoint.root != root_of(self.leaves).hex():
            covered = f"events {checkpoint.first_seq} to {checkpoint.last_seq}"
            raise ChainBrokenError(f"{covered} are not those that checkpoint {checkpoint.number} was signed for")
        self._passed(checkpoint)

    def skip_retired(self, checkpoint: Checkpoint) -> None:
        """Pass a checkpoint whose events retention has dropped: its signature is what is left of them.

        Raises:
            ChainBrokenError: it is not the next one, or not signed.
        """
        self._expect(checkpoint)
        self.link = Link(checkpoint.last_seq, bytes.fromhex(checkpoint.chain_hash))
        self.retired_through = checkpoint.last_seq
        self._passed(checkpoint)

    def finish(self, ends: Ends) -> None:
        """Compare the end of the walk with the head, with the retirements on record and with checkpoints outside.

        Raises:
            ChainBrokenError: they differ.
        """
        if self.link != ends.head:
            raise ChainBrokenError("the head of the chain does not match its last event")
        if self.next_number <= max(ends.newest_checkpoint, *self.outside, 0):
            raise ChainBrokenError(f"checkpoint {self.next_number}, or an event that it was signed for, is missing")
        if self.retired_through and self.retired_through not in self.retirements:
            raise ChainBrokenError(f"events up to {self.retired_through} are missing and were never retired")

    def _expect(self, checkpoint: Checkpoint) -> None:
        number = self.next_number
        if checkpoint.number != number:
            raise ChainBrokenError(f"checkpoint {number} is missing: {checkpoint.number} stands in its place")
        if (checkpoint.first_seq, checkpoint.previous) != (self.signed_through + 1, self.previous):
            raise ChainBrokenError(f"checkpoint {number} does not follow the one before it")
        if not checkpoint.is_signed_by(self.keys):
            raise ChainBrokenError(f"checkpoint {number} has no valid signature by a known key")
        if self.outside.get(number, checkpoint) != checkpoint:
            raise ChainBrokenError(f"checkpoint {number} is not the one that was exported")

    def _passed(self, checkpoint: Checkpoint) -> None:
        self.next_number, self.previous = checkpoint.number + 1, checkpoint.digest
        self.signed_through = checkpoint.last_seq
        self.checkpoints += 1
        self.leaves.clear()


async def verify_chain(
    database: Database,
    keys: dict[str, PublicKey],
    *,
    outside: Iterable[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Verify every event and checkpoint; `outside` are checkpoints from an export, which must still be there.

    Reads in ranges, each its own short transaction, so that it neither holds memory nor a snapshot; what is sealed
    or signed meanwhile is left for the next time. `progress` is told how many of how many events are done.
    """
    walk, problem = Walk(keys, {checkpoint.number: checkpoint for checkpoint in outside}), None
    try:
        ends = await _read_ends(database)
        await _skip_retired(database, walk, ends)
        while walk.link.seq < ends.head.seq:
            await _walk_range(database, walk, ends)
            progress(walk.link.seq, ends.head.seq)
        walk.finish(ends)
    except ChainBrokenError as error:
        problem = str(error)
    return Verification(walk.events, walk.link, walk.checkpoints, walk.signed_through, problem)


async def _read_ends(database: Database) -> Ends:
    async with database.connection() as connection:
        row = (await connection.execute(text(ENDS))).one()
    ends = Ends(Link(row.seq, row.hash), row.first, row.newest_checkpoint)
    if row.last is not None and row.last > ends.head.seq:
        raise ChainBrokenError(f"event {row.last} stands beyond the head of the chain")
    return ends


async def _skip_retired(database: Database, walk: Walk, ends: Ends) -> None:
    """Go from signature to signature up to the first event that still stands there."""
    first = ends.head.seq + 1 if ends.first is None else ends.first
    for start in range(0, first - 1, RETIRED_RANGE):
        async with database.connection() as connection:
            upto = min(start + RETIRED_RANGE, first - 1)
            for checkpoint in await read_checkpoints(connection, start, upto, ends.newest_checkpoint):
                walk.skip_retired(checkpoint)
    if walk.link.seq != first - 1:
        raise ChainBrokenError(f"events {walk.link.seq + 1} to {first - 1} are missing")


async def _walk_range(database: Database, walk: Walk, ends: Ends) -> None:
    after, upto = walk.link.seq, min(walk.link.seq + RANGE, ends.head.seq)
    async with database.connection() as connection:
        events = await read_range(connection, after, upto)
        checkpoints = await read_checkpoints(connection, after, upto, ends.newest_checkpoint)
    due = {checkpoint.last_seq: checkpoint for checkpoint in checkpoints}
    for event in events:
        walk.pass_event(event)
        if event.seq in due:
            walk.pass_checkpoint(due[event.seq])
    if walk.link.seq != upto:
        raise ChainBrokenError(f"event {walk.link.seq + 1} and all after it are missing")
