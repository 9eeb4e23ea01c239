"""One root for every error of ours; each class is one thing that a caller does differently."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID


class Verdict(StrEnum):
    """What has to happen next after a failed sync, so that no caller has to guess it from a message."""

    RETRY_LATER = "retry_later"
    RESTART_PAGINATION = "restart_pagination"
    RESTART_FROM_EMPTY_CURSOR = "restart_from_empty_cursor"
    USER_MUST_ACT = "user_must_act"
    ITEM_IS_GONE = "item_is_gone"
    OPERATOR_MUST_ACT = "operator_must_act"
    INSTITUTION_IS_DOWN = "institution_is_down"


class MannaError(Exception):
    """The root: its text is one line, fit for a log, and never holds a secret."""


class ConfigurationError(MannaError):
    """A setting or secret is missing or wrong; the text names it and what is accepted. Ends a process at start."""


class UnavailableError(MannaError):
    """PostgreSQL or Redis could not be reached within the time allowed at start."""


class NotFoundError(MannaError):
    """What was asked for does not exist."""


class LockNotAcquiredError(MannaError):
    """Somebody else holds the lock."""

    def __init__(self) -> None:
        super().__init__("Could not acquire sync lock")


class EncryptionError(MannaError):
    """A value could not be sealed or opened. Opaque on purpose: which check failed is nobody's business outside."""


class WebhookRejectedError(MannaError):
    """A webhook that is not verifiably Plaid's. The text is for our log, never for the sender."""


class TokenRefusedError(MannaError):
    """An API token that does not hold. The text is one word for our log: the caller learns only that it failed."""


class DuplicateItemError(MannaError):
    """The user has this bank's accounts linked already; `item_id` is the Item that has them."""

    def __init__(self, item_id: UUID) -> None:
        super().__init__(f"the user has these accounts linked already, as Item {item_id}")
        self.item_id = item_id


class InvalidCursorError(MannaError):
    """A page's cursor that this listing never gave out."""

    def __init__(self) -> None:
        super().__init__("the cursor is not one of this listing's; begin again without one")


class ItemNotUsableError(MannaError):
    """What was asked for does not go with the Item's present status."""


class PagesNotReplayableError(MannaError):
    """The recorded pages of a run cannot be applied; the text says why, and what to do instead."""


class SyncError(MannaError):
    """A sync that ended without a commit. `verdict` says what follows; the rest are Plaid's own facts.

    Attributes:
        error_type: Plaid's `error_type`, or `MANNA` when the failure is ours.
        error_code: Plaid's `error_code`, or a constant of ours.
        request_id: Plaid's id of the failed request, when it sent one.
        retry_after: seconds that the other side asked us to wait, when it did.
    """

    verdict: ClassVar[Verdict] = Verdict.RETRY_LATER

    def __init__(
        self,
        error_code: str,
        *,
        error_type: str = "MANNA",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{error_type}/{error_code}")
        self.error_type = error_type
        self.error_code = error_code
        self.request_id = request_id
        self.retry_after = retry_after


class RetryLaterError(SyncError):
    """Passes by itself: time-outs, 5xx, rate limits, a lost lease."""


class VersionConflictError(SyncError):
    """Somebody else committed this Item first; nothing of ours was written and nothing is lost."""

    def __init__(self) -> None:
        super().__init__("VERSION_CONFLICT")


class RestartPaginationError(SyncError):
    """The data changed between two pages: throw the pages away, begin again at the loop's first cursor."""

    verdict = Verdict.RESTART_PAGINATION


class RestartFromEmptyCursorError(SyncError):
    """The stored cursor is of no use to Plaid any more: only a full pull helps."""

    verdict = Verdict.RESTART_FROM_EMPTY_CURSOR


class UserMustActError(SyncError):
    """The Item's owner has to log in again or to consent (Link in update mode)."""

    verdict = Verdict.USER_MUST_ACT


class ItemIsGoneError(SyncError):
    """The Item was removed or its permission revoked; no sync will ever work again."""

    verdict = Verdict.ITEM_IS_GONE


class OperatorMustActError(SyncError):
    """Keys, environment, permissions or a bug: it would fail for every Item, so none is marked dead for it."""

    verdict = Verdict.OPERATOR_MUST_ACT


class ClientRefusedError(OperatorMustActError):
    """Plaid refuses us as its client (keys, environment, credits): every Item would fail, so nothing is tried."""


class InstitutionIsDownError(SyncError):
    """The bank is not reachable through Plaid; hours rather than minutes."""

    verdict = Verdict.INSTITUTION_IS_DOWN
