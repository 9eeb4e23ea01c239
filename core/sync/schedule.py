"""When the schedule looks at an Item next, after a sync that succeeded."""

from datetime import datetime, timedelta

from core.identity import jittered
from core.models import PlaidItem

# Plaid announces the changes of such an Item; the schedule only covers for a webhook that got lost.
ANNOUNCED_FACTOR = 6
ANNOUNCED_FOR = timedelta(days=7)
# The first pull of the history is still under way at Plaid's: soon there is more, announced or not.
NOT_COMPLETE_SECONDS = 120
INCOMPLETE = frozenset({"NOT_READY", "INITIAL_UPDATE_COMPLETE"})


def seconds_until_next(item: PlaidItem, update_status: str | None, now: datetime, interval_seconds: float) -> float:
    """Return how long an Item may rest: briefly while its history comes in, long while Plaid announces its changes.

    Silent Items are looked at every `interval_seconds`. Jittered, so that Items linked together drift apart.
    """
    if update_status in INCOMPLETE:
        return jittered(min(NOT_COMPLETE_SECONDS, interval_seconds), 0.25)
    is_announced = item.webhook_seen_at is not None and now - item.webhook_seen_at < ANNOUNCED_FOR
    return jittered(interval_seconds * (ANNOUNCED_FACTOR if is_announced else 1))
