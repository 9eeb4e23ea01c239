"""What a failed sync means for its Item: its status, and when to look again, by the verdict alone."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func

from core.errors import ClientRefusedError, SyncError, Verdict
from core.identity import jittered
from core.models import ItemStatus

FIRST_BACKOFF_SECONDS = 30
LONGEST_BACKOFF_SECONDS = 4 * 3600
PATIENCE_SECONDS = {Verdict.OPERATOR_MUST_ACT: 900, Verdict.INSTITUTION_IS_DOWN: 3600}
STATUS = {Verdict.USER_MUST_ACT: ItemStatus.NEEDS_REAUTH, Verdict.ITEM_IS_GONE: ItemStatus.REVOKED}
# Our own limiter said no before Plaid was asked.
OUTBOUND_BUDGET = "OUTBOUND_BUDGET"
# About two days of trying: then the Item is set aside, listed, and waits for a webhook or a person.
MOST_FAILURES = 20


def health_after(error: SyncError, failures: int, status: ItemStatus) -> dict[str, Any]:
    """Return the Item's new column values after its next failure in a row, `failures` before it.

    Only a verdict about the Item itself changes its status; what the network, Plaid or our own keys did does not,
    until it has failed twenty times in a row. An institution's or our own outage counts for no Item.
    """
    is_ours = isinstance(error, ClientRefusedError) or error.error_code == OUTBOUND_BUDGET
    is_items_own = error.verdict is not Verdict.INSTITUTION_IS_DOWN and not is_ours
    failed = failures + is_items_own
    status = ItemStatus.ERROR if failed >= MOST_FAILURES else STATUS.get(error.verdict, status)
    waits_for_somebody = error.verdict in STATUS or status is ItemStatus.ERROR
    return {
        "status": STATUS.get(error.verdict, status),
        "error_type": error.error_type,
        "error_code": error.error_code,
        "consecutive_failures": failed,
        "next_sync_at": None if waits_for_somebody else _next_look(error, failures),
    }


def _next_look(error: SyncError, failures: int) -> ColumnElement[datetime]:
    backoff = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures, 20), LONGEST_BACKOFF_SECONDS)
    patience = PATIENCE_SECONDS.get(error.verdict, 0)
    seconds = max(backoff, patience, error.retry_after or 0)
    # By the clock that the dispatcher reads: a worker whose own is ahead would let its Items sleep.
    return func.now() + timedelta(seconds=jittered(seconds, 0.25))
