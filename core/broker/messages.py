"""The messages: frozen, ids only, with wire names that outlive every rename in the code."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol
from uuid import UUID

from core.models import SyncTrigger


class Queue(StrEnum):
    """The queues, in the order in which a worker serves them: behind one that is never empty none is served."""

    WEBHOOK = "sync.webhook"
    # Ticks and wake-ups: few and short, and the others' pace hangs on them.
    MAINTENANCE = "maintenance"
    REPLAY = "sync.replay"
    SCHEDULED = "sync.scheduled"
    BACKFILL = "sync.backfill"
    AUDIT = "audit"


SYNC_QUEUES = {
    SyncTrigger.WEBHOOK: Queue.WEBHOOK,
    SyncTrigger.MANUAL: Queue.WEBHOOK,
    SyncTrigger.REPLAY: Queue.REPLAY,
    SyncTrigger.SCHEDULED: Queue.SCHEDULED,
    SyncTrigger.BACKFILL: Queue.BACKFILL,
}
ITEMS_A_MESSAGE = 50


class Message(Protocol):
    """A message: a wire name, a queue, and arguments that JSON can carry."""

    wire_name: ClassVar[str]

    @property
    def queue(self) -> Queue:
        """Where it is sent to."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of the task."""


@dataclass(frozen=True, slots=True)
class SyncItem:
    """Bring one Item up to date: from webhooks and people, who wait for it."""

    wire_name: ClassVar[str] = "sync.item"
    item_id: UUID
    trigger: SyncTrigger

    @property
    def queue(self) -> Queue:
        """The trigger's queue."""
        return SYNC_QUEUES[self.trigger]

    def arguments(self) -> dict[str, Any]:
        """Return the ids as text."""
        return {"item_id": str(self.item_id), "trigger": self.trigger.value}


@dataclass(frozen=True, slots=True)
class SyncItems:
    """Bring up to 50 Items up to date, each for itself: where throughput counts more than latency."""

    wire_name: ClassVar[str] = "sync.items"
    item_ids: tuple[UUID, ...]
    trigger: SyncTrigger

    @property
    def queue(self) -> Queue:
        """The trigger's queue."""
        return SYNC_QUEUES[self.trigger]

    def arguments(self) -> dict[str, Any]:
        """Return the ids as text."""
        return {"item_ids": [str(item_id) for item_id in self.item_ids], "trigger": self.trigger.value}


@dataclass(frozen=True, slots=True)
class ReplayPages:
    """Apply the recorded pages of up to 50 failed runs, each for itself and without Plaid."""

    wire_name: ClassVar[str] = "sync.replay_pages"
    run_ids: tuple[UUID, ...]
    queue: Queue = Queue.REPLAY

    def arguments(self) -> dict[str, Any]:
        """Return the ids as text."""
        return {"run_ids": [str(run_id) for run_id in self.run_ids]}


@dataclass(frozen=True, slots=True)
class DispatchDue:
    """Find the Items that are due and put them on the queue: beat's tick."""

    wire_name: ClassVar[str] = "sync.dispatch_due"
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the database knows what is due."""
        return {}


@dataclass(frozen=True, slots=True)
class AdvanceReplays:
    """Move the running replays on: beat's tick, and whoever asks for a replay."""

    wire_name: ClassVar[str] = "sync.replay"
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the database knows what is open."""
        return {}


@dataclass(frozen=True, slots=True)
class ConsumeAudit:
    """Seal what the audit outbox holds: a wake-up, the events themselves are in the database."""

    wire_name: ClassVar[str] = "audit.consume"
    queue: Queue = Queue.AUDIT

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the outbox knows what is open."""
        return {}


@dataclass(frozen=True, slots=True)
class ReencryptTokens:
    """Bring what is sealed under other keys under the active one; sent again by itself while there is more."""

    wire_name: ClassVar[str] = "keys.reencrypt"
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the envelopes say which key they are under."""
        return {}


@dataclass(frozen=True, slots=True)
class RevokeItems:
    """Have Plaid forget the Items whose removal is due: a wake-up, the removals themselves are in the database."""

    wire_name: ClassVar[str] = "items.revoke"
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the database knows what is due."""
        return {}


@dataclass(frozen=True, slots=True)
class RegisterWebhooks:
    """Have Plaid send here the webhooks of Items that it does not do so for yet: beat's, the database knows which."""

    wire_name: ClassVar[str] = "items.register_webhooks"
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the database knows what is due."""
        return {}


@dataclass(frozen=True, slots=True)
class ReconcileItem:
    """Compare an Item with everything that Plaid has; `actor` is who asked, for the audit log."""

    wire_name: ClassVar[str] = "items.reconcile"
    item_id: UUID
    repair: bool
    actor: str
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return the id as text, and the rest as it is."""
        return {"item_id": str(self.item_id), "repair": self.repair, "actor": self.actor}


@dataclass(frozen=True, slots=True)
class VerifyAudit:
    """Verify the audit chain from its beginning; `actor` is who asked, for the audit log."""

    wire_name: ClassVar[str] = "audit.verify"
    actor: str
    # Not the audit queue: its one consumer shall go on sealing meanwhile.
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return who asked."""
        return {"actor": self.actor}


@dataclass(frozen=True, slots=True)
class Prune:
    """Drop what is past its retention: beat's, each hour."""

    wire_name: ClassVar[str] = "maintenance.prune"
    queue: Queue = Queue.MAINTENANCE

    def arguments(self) -> dict[str, Any]:
        """Return nothing: the settings know what is past."""
        return {}


MESSAGES: tuple[type[Message], ...] = (
    SyncItem,
    SyncItems,
    ReplayPages,
    DispatchDue,
    AdvanceReplays,
    ConsumeAudit,
    ReencryptTokens,
    RevokeItems,
    RegisterWebhooks,
    ReconcileItem,
    VerifyAudit,
    Prune,
)
