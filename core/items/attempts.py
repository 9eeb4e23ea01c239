"""How long Plaid is left alone before it is asked once more for what it has to do in the end."""

from core.errors import SyncError
from core.identity import jittered

FIRST_SECONDS = 30
LONGEST_SECONDS = 6 * 3600


def pause_seconds(attempts: int, error: SyncError) -> float:
    """Return the pause after so many attempts: doubled each time, six hours at most, or as long as Plaid asks for."""
    backoff = min(FIRST_SECONDS * 2 ** min(attempts, 16), LONGEST_SECONDS)
    return max(jittered(backoff, 0.25), error.retry_after or 0)
