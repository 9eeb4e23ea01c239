"""What Plaid's errors mean for us: code first, then type, never the message.

Source: plaid.com/docs/errors. Most of them, log-in and institution errors included, are HTTP 400, so the status
tells nothing; `RATE_LIMIT_EXCEEDED` is an `error_type`, and its codes are many.
"""

import re

import msgspec

from core.errors import (
    ClientRefusedError,
    InstitutionIsDownError,
    ItemIsGoneError,
    OperatorMustActError,
    RestartFromEmptyCursorError,
    RestartPaginationError,
    RetryLaterError,
    SyncError,
    UserMustActError,
)

# `cursor not associated with access_token`, and whatever Plaid says of one that expired: the code is INVALID_FIELD for
# all of them, and a cursor is the only field of ours that Plaid has made itself.
CURSOR = re.compile("cursor", re.IGNORECASE)

BY_CODE: dict[str, type[SyncError]] = {
    "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION": RestartPaginationError,
    **dict.fromkeys(
        [
            "INVALID_API_KEYS",
            "UNAUTHORIZED_ENVIRONMENT",
            "UNAUTHORIZED_ROUTE_ACCESS",
            # The one rate limit that no waiting heals.
            "CREDITS_EXHAUSTED",
        ],
        ClientRefusedError,
    ),
    "INSTITUTION_DOWN": InstitutionIsDownError,
    "INSTITUTION_NOT_RESPONDING": InstitutionIsDownError,
    "INSTITUTION_NOT_AVAILABLE": InstitutionIsDownError,
    **dict.fromkeys(
        [
            "ITEM_LOGIN_REQUIRED",
            "ACCESS_NOT_GRANTED",
            "NO_ACCOUNTS",
            "ITEM_LOCKED",
            "USER_SETUP_REQUIRED",
            "PASSWORD_RESET_REQUIRED",
            "INVALID_CREDENTIALS",
            "INVALID_MFA",
            "INVALID_UPDATED_USERNAME",
            "ITEM_NOT_SUPPORTED",
            "MFA_NOT_SUPPORTED",
            "ADDITIONAL_CONSENT_REQUIRED",
        ],
        UserMustActError,
    ),
    **dict.fromkeys(["ITEM_NOT_FOUND", "ITEM_CONCURRENTLY_DELETED", "USER_PERMISSION_REVOKED"], ItemIsGoneError),
    "PRODUCT_NOT_READY": RetryLaterError,
}
BY_TYPE: dict[str, type[SyncError]] = {
    "RATE_LIMIT_EXCEEDED": RetryLaterError,
    "API_ERROR": RetryLaterError,
    "INSTITUTION_ERROR": OperatorMustActError,
    "ITEM_ERROR": OperatorMustActError,
    "INVALID_INPUT": OperatorMustActError,
    "INVALID_REQUEST": OperatorMustActError,
}
SERVER_ERRORS = range(500, 600)
TOO_MANY_REQUESTS = 429
LONGEST_WAIT_SECONDS = 14_400.0
# Names and ids as Plaid writes them. What else stands in their place is a gateway's, and may fit no column.
WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class ErrorBody(msgspec.Struct):
    """Plaid's error object; everything may be missing when something in between answered instead."""

    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    request_id: str | None = None


def classify(status: int, body: bytes | str, retry_after: str | None = None) -> SyncError:
    """Return the error of ours, with its verdict, for an answer of Plaid's that is not 2xx."""
    try:
        told = msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        told = ErrorBody()
    kind = _kind(status, told)
    return kind(
        _word(told.error_code) or f"HTTP_{status}",
        error_type=_word(told.error_type) or ("RATE_LIMIT_EXCEEDED" if status == TOO_MANY_REQUESTS else "HTTP"),
        request_id=_word(told.request_id),
        retry_after=_seconds(retry_after),
    )


def _word(text: str | None) -> str | None:
    return text if text and WORD.fullmatch(text) else None


def _seconds(retry_after: str | None) -> float | None:
    if not retry_after or not retry_after.isdecimal():
        return None
    return min(float(retry_after), LONGEST_WAIT_SECONDS)


def _kind(status: int, told: ErrorBody) -> type[SyncError]:
    if told.error_code == "INVALID_FIELD" and CURSOR.search(told.error_message or ""):
        return RestartFromEmptyCursorError
    if (by_body := _known(told.error_type, told.error_code)) is not None:
        return by_body
    passes = status in SERVER_ERRORS or status == TOO_MANY_REQUESTS
    return RetryLaterError if passes else OperatorMustActError


def kind_of(error_type: str | None, error_code: str | None) -> type[SyncError]:
    """Return the error of ours that a recorded failure of Plaid's was.

    A refused cursor was an `INVALID_FIELD` like others then; what we keep of one does not tell them apart.
    """
    if (known := _known(error_type, error_code)) is not None:
        return known
    status = (error_code or "").removeprefix("HTTP_")
    passes = status.isdecimal() and (int(status) in SERVER_ERRORS or int(status) == TOO_MANY_REQUESTS)
    return RetryLaterError if passes else OperatorMustActError


def _known(error_type: str | None, error_code: str | None) -> type[SyncError] | None:
    return BY_CODE.get(error_code or "") or BY_TYPE.get(error_type or "")
