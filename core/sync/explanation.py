"""What a failed run means: what happened, whether it heals by itself and when, and what a person can do.

By code where one is known better, else by the verdict that the code has for us.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import SyncError, Verdict
from core.models import ItemStatus, RunStatus
from core.plaid.errors import kind_of
from core.sync.explanation_texts import BY_CODE, BY_VERDICT, UNEXPECTED

OURS = {
    "ACCESS_TOKEN_LOST": Verdict.USER_MUST_ACT,
    "DECRYPTION_FAILED": Verdict.OPERATOR_MUST_ACT,
    "CURSOR_REFUSED_AGAIN": Verdict.OPERATOR_MUST_ACT,
    "JOURNAL_UNREADABLE": Verdict.OPERATOR_MUST_ACT,
}
SET_ASIDE = (
    "The Item has failed too often in a row and is set aside; mend the cause and replay it: `manna syncs replay {}`"
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A run in a person's words.

    Attributes:
        happened: what went wrong.
        retry: whether it is tried again without anybody, or what has become of it since.
        next_sync_at: when that is; None when nothing is planned.
        advice: what a person can do.
    """

    happened: str
    retry: str
    next_sync_at: datetime | None
    advice: str


def verdict_of(error_type: str | None, error_code: str | None) -> Verdict:
    """Return the verdict that a recorded failure had."""
    if error_code in OURS:
        return OURS[error_code]
    ours = error_type in {None, "MANNA", "UNEXPECTED", "NETWORK"}
    kind: type[SyncError] = SyncError if ours else kind_of(error_type, error_code)
    return kind.verdict


def explain(run: dict[str, Any]) -> Explanation | None:
    """Explain a failed run, as `core.queries.runs` reads it with its Item; None for one that did not fail."""
    if run["status"] is not RunStatus.FAILED:
        return None
    verdict = verdict_of(run["error_type"], run["error_code"])
    other = UNEXPECTED if run["error_type"] == "UNEXPECTED" else BY_VERDICT[verdict]
    happened, advice = BY_CODE.get(run["error_code"], other)
    retry, planned = _retry(run)
    if retry is SYNCED:
        advice = "Nothing."
    elif run["item_status"] is ItemStatus.ERROR:
        advice = SET_ASIDE.format(run["item_id"])
    return Explanation(happened, retry, planned, advice)


SYNCED = "The Item was brought up to date since."
PLANNED = "It is tried again by itself."
HELD = "It is held back with all Items of its bank, and tried again when the bank answers."
WAITS = "It is not tried again by itself: a webhook of Plaid's or a person brings it back."


def _retry(run: dict[str, Any]) -> tuple[str, datetime | None]:
    if run["last_synced_at"] is not None and run["last_synced_at"] >= run["started_at"]:
        return SYNCED, run["next_sync_at"]
    if run["next_sync_at"] is None:
        return WAITS, None
    return (PLANNED if run["parked_at"] is None else HELD), run["next_sync_at"]
