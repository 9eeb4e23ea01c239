"""What Plaid has to do in the end: claimed when it is due, tried side by side, and tried again after longer pauses."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, any_, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from core.errors import SyncError
from core.identity import jittered
from core.models import ItemRemoval, WebhookRegistration
from core.settings import Settings

log = structlog.get_logger()

CLAIM_LIMIT = 20
FIRST_SECONDS = 30
LONGEST_SECONDS = 6 * 3600

T = TypeVar("T")


def claim_due(
    table: type[ItemRemoval] | type[WebhookRegistration], settings: Settings, *is_open: ColumnElement[bool]
) -> ReturningUpdate[UUID, int]:
    """Return the statement that claims up to twenty rows whose next attempt is due, by moving it behind this one's end.

    It gives each row's Item and its attempts with this one. Rows that somebody else is claiming are stepped over; a
    worker that dies delays its rows, nothing else.
    """
    due = select(table.item_id).where(table.next_attempt_at <= func.now(), *is_open).order_by(table.next_attempt_at)
    # An array is read once; joined as a table the rows could be looked for again, beyond the limit.
    claimed = func.array(due.limit(CLAIM_LIMIT).with_for_update(skip_locked=True).scalar_subquery())
    hold = func.now() + timedelta(seconds=settings.plaid_timeout_seconds * 3 + 60)
    values = {"next_attempt_at": hold, "attempts": table.attempts + 1}
    claim = update(table).where(table.item_id == any_(claimed)).values(values)
    return claim.returning(table.item_id, table.attempts)


async def try_each(attempt: Callable[[T], Awaitable[bool]], claimed: Iterable[T]) -> int:
    """Try what is claimed side by side, and return how often Plaid agreed.

    One after the other they would wait for a slow one until their claims had run out. One that fails unexpectedly
    takes none of the others with it.
    """
    results = await asyncio.gather(*map(attempt, claimed), return_exceptions=True)
    for error in results:
        if isinstance(error, Exception):
            log.error("attempt_crashed", error=type(error).__name__)
    return sum(result is True for result in results)


def pause_seconds(attempts: int, error: SyncError) -> float:
    """Return the pause after so many attempts: doubled each time, six hours at most, or as long as Plaid asks for."""
    backoff = min(FIRST_SECONDS * 2 ** min(attempts, 16), LONGEST_SECONDS)
    return max(jittered(backoff, 0.25), error.retry_after or 0)
