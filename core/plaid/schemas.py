"""The shapes of Plaid's answers, checked as they are decoded; unknown fields and enum values pass."""

import datetime as dt
from decimal import Decimal

import msgspec

from core.errors import RetryLaterError


class AddedTransaction(msgspec.Struct, gc=False):
    """The part of a transaction without which it could not be stored. The rest goes to PostgreSQL as it came."""

    transaction_id: str
    account_id: str
    amount: Decimal
    date: dt.date
    pending: bool
    datetime: dt.datetime | None = None
    authorized_date: dt.date | None = None
    authorized_datetime: dt.datetime | None = None


class RemovedTransaction(msgspec.Struct, gc=False):
    """A transaction that does not stand any more."""

    transaction_id: str


class AccountShape(msgspec.Struct, gc=False):
    """The part of an account without which it could not be stored."""

    account_id: str
    name: str
    type: str


class SyncPage(msgspec.Struct):
    """One answer of /transactions/sync; an absent or null `next_cursor` means what `""` means: none."""

    added: list[AddedTransaction]
    modified: list[AddedTransaction]
    removed: list[RemovedTransaction]
    has_more: bool
    next_cursor: str | None = None
    accounts: list[AccountShape] = []
    request_id: str | None = None


class VerificationKey(msgspec.Struct, frozen=True):
    """A JSON web key (RFC 7517) that signs webhooks; `expired_at` is unix time, null while it is good."""

    kty: str
    crv: str
    x: str
    y: str
    alg: str
    kid: str
    expired_at: int | None = None


class VerificationKeyAnswer(msgspec.Struct):
    """The answer of /webhook_verification_key/get."""

    key: VerificationKey


_page = msgspec.json.Decoder(SyncPage)


def decode_page(body: bytes) -> SyncPage:
    """Return the page of an answer.

    Raises:
        RetryLaterError: `MALFORMED_ANSWER`; something between us and Plaid, or Plaid, sent something else.
    """
    try:
        return _page.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise RetryLaterError("MALFORMED_ANSWER") from None
