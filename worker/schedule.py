"""What beat ticks: each entry only wakes somebody who asks the database what there is to do."""

from typing import Any

from core.broker.messages import (
    AdvanceReplays,
    ConsumeAudit,
    DispatchDue,
    Message,
    Prune,
    RegisterWebhooks,
    RevokeItems,
)
from core.settings import Settings

# What nobody woke the consumer for, such as a refused log-in, is sealed within five seconds.
AUDIT_SECONDS = 4.0
# Small enough for an even pace, and one look at an empty index while there is no replay.
REPLAY_SECONDS = 2.0
# Not once a day: a beat that is restarted daily would never come to it.
PRUNE_SECONDS = 3600.0
REMOVAL_SECONDS = 30.0
REGISTRATION_SECONDS = 30.0


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return beat's entries; a tick that nobody took before the next one is dropped."""
    return {
        "dispatch-due-items": _entry(DispatchDue(), settings.sync_dispatch_seconds),
        "advance-replays": _entry(AdvanceReplays(), REPLAY_SECONDS),
        "consume-audit-outbox": _entry(ConsumeAudit(), AUDIT_SECONDS),
        "revoke-removed-items": _entry(RevokeItems(), REMOVAL_SECONDS),
        "register-webhooks": _entry(RegisterWebhooks(), REGISTRATION_SECONDS),
        "prune": _entry(Prune(), PRUNE_SECONDS),
    }


def _entry(message: Message, seconds: float) -> dict[str, Any]:
    options = {"queue": message.queue.value, "expires": max(seconds, 1.0)}
    return {"task": message.wire_name, "schedule": seconds, "options": options}
