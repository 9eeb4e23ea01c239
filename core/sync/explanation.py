"""What a failed run means: what happened, whether it heals by itself and when, and what a person can do.

By code where one is known better, else by the verdict that the code has for us.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import SyncError, Verdict
from core.models import ItemStatus, RunStatus
from core.plaid.errors import kind_of

BY_VERDICT = {
    Verdict.RETRY_LATER: ("Something passing got in the way.", "Nothing: it is tried again by itself."),
    Verdict.RESTART_PAGINATION: (
        "The Item's data kept changing while its pages were read.",
        "Nothing: it is tried again by itself.",
    ),
    Verdict.RESTART_FROM_EMPTY_CURSOR: (
        "Plaid does not know the stored cursor any more.",
        "Nothing: the next sync pulls everything again.",
    ),
    Verdict.USER_MUST_ACT: (
        "The Item's owner has to log in or to consent again.",
        "Send the user through Link's update mode; the sync follows by itself.",
    ),
    Verdict.ITEM_IS_GONE: (
        "The Item does not exist at Plaid any more, or its permission was revoked.",
        "Have the user link the account anew, or remove the Item here.",
    ),
    Verdict.OPERATOR_MUST_ACT: (
        "Plaid or our own set-up refuses this: waiting alone does not help.",
        "Look the code up in Plaid's documentation, mend the cause, then replay by this code.",
    ),
    Verdict.INSTITUTION_IS_DOWN: (
        "The bank is not reachable through Plaid.",
        "Nothing: its Items are held back, one is tried, and all are released when it answers.",
    ),
}
BY_CODE = {
    "ITEM_LOGIN_REQUIRED": (
        "The bank wants the user to log in again: password, consent or second factor changed.",
        "Send the user through Link's update mode; the sync follows by itself.",
    ),
    "INVALID_API_KEYS": (
        "Plaid does not accept our client id and secret.",
        "Check PLAID_CLIENT_ID, PLAID_SECRET and PLAID_ENV; everything is held back until one sync succeeds.",
    ),
    "UNAUTHORIZED_ENVIRONMENT": (
        "Our keys are not for this Plaid environment.",
        "Check PLAID_ENV; everything is held back until one sync succeeds.",
    ),
    "INVALID_ACCESS_TOKEN": (
        "Plaid does not know the access token in this environment.",
        "Check PLAID_ENV and where the Item was imported from; else have the user link anew.",
    ),
    "ACCESS_TOKEN_LOST": (
        "Plaid replaced the access token, and its answer with the new one never arrived or was never stored.",
        "Have the user link the account anew: the old token is dead, and Plaid tells a new one once.",
    ),
    "ACCESS_TOKEN_REPLACED": (
        "The access token had just been replaced; the new one was stored.",
        "Nothing: it is tried again with the new one.",
    ),
    "CREDITS_EXHAUSTED": (
        "The Plaid account's credits are used up.",
        "Settle it with Plaid, then replay by this code.",
    ),
    "DECRYPTION_FAILED": (
        "The stored access token does not open with the keys that this process has.",
        "Put the key that sealed it into MANNA_ENCRYPTION_KEYS_PREVIOUS, restart, then replay by this code.",
    ),
    "WORKER_LOST": ("The worker died or was killed during the sync.", "Nothing: the Item is due again."),
    "TIME_LIMIT_REACHED": (
        "The sync took longer than SYNC_TIME_LIMIT_SECONDS.",
        "If it happens again to the same Item, raise the limit and replay it.",
    ),
    "LEASE_LOST": (
        "The worker lost its lease: Redis was away or the process stood still.",
        "Nothing: it is tried again.",
    ),
    "OUTBOUND_BUDGET": (
        "Plaid's rate limit was used up by other Items.",
        "Nothing; if it is the rule, ask Plaid for a higher limit and raise PLAID_RATE_PER_CLIENT_PER_MINUTE.",
    ),
    "CURSOR_REFUSED_AGAIN": (
        "Plaid refused the cursor again within a day of a full pull.",
        "Ask Plaid's support with the request id; `manna items reconcile ID` shows what differs.",
    ),
    "PAGINATION_DOES_NOT_ADVANCE": (
        "Plaid answered with the cursor that it was asked with, and said that there is more.",
        "Nothing; if it stays, ask Plaid's support with the request id.",
    ),
    "MALFORMED_ANSWER": (
        "What came from Plaid's address was not Plaid's answer.",
        "Nothing; if it stays, look at the proxy or PLAID_BASE_URL.",
    ),
}
OURS = {
    "ACCESS_TOKEN_LOST": Verdict.USER_MUST_ACT,
    "DECRYPTION_FAILED": Verdict.OPERATOR_MUST_ACT,
    "CURSOR_REFUSED_AGAIN": Verdict.OPERATOR_MUST_ACT,
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
    happened, advice = BY_CODE.get(run["error_code"], BY_VERDICT[verdict])
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
