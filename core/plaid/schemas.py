"""The shapes of Plaid's answers, checked as they are decoded; unknown fields and enum values pass."""

import datetime as dt
import re
import secrets
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from core.errors import RetryLaterError

# Plaid's ids are far shorter; an index of PostgreSQL takes no key beyond 2,700 bytes.
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class AddedTransaction(msgspec.Struct, gc=False):
    """The part of a transaction without which it could not be stored. The rest goes to PostgreSQL as it came.

    `amount` is a float here only to be checked: PostgreSQL reads the digits themselves.
    """

    transaction_id: Id
    account_id: Id
    amount: float
    date: dt.date
    pending: bool
    pending_transaction_id: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    datetime: dt.datetime | None = None
    authorized_date: dt.date | None = None
    authorized_datetime: dt.datetime | None = None


class RemovedTransaction(msgspec.Struct, gc=False):
    """A transaction that does not stand any more."""

    transaction_id: Id


class AccountShape(msgspec.Struct, gc=False):
    """The part of an account without which it could not be stored."""

    account_id: Id
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
    transactions_update_status: str | None = None


class LoosePage(msgspec.Struct):
    """The same answer with its lists unread, for one in which something is malformed."""

    added: list[msgspec.Raw]
    modified: list[msgspec.Raw]
    removed: list[msgspec.Raw]
    has_more: bool
    next_cursor: str | None = None
    accounts: list[msgspec.Raw] = []
    request_id: str | None = None
    transactions_update_status: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """Something in an answer that cannot become a row: where it stood, as it came, and why. Kept out of every repr."""

    place: str
    body: bytes
    reason: str

    def __repr__(self) -> str:
        return f"Rejected({self.place!r}, {self.reason!r})"


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


SHAPES: dict[str, Any] = {
    "added": AddedTransaction,
    "modified": AddedTransaction,
    "removed": RemovedTransaction,
    "accounts": AccountShape,
}
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NUL = rb"\u0000"
REPLACEMENT = rb"\ufffd"
# Every escape of a JSON text, a whole surrogate pair as one, so that an escaped backslash is never misread.
ESCAPE = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.", re.DOTALL)
ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# One look through a page, not two: it is most of what a page costs here besides its decoding.
SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
HALF_A_PAIR = len(NUL)
# A string, so that what is said inside it is passed over, or one of the three numbers that JSON does not have.
STRING_OR_NO_NUMBER = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|NaN|-?Infinity', re.DOTALL)
NO_NUMBERS = (b"NaN", b"Infinity")
# Stands in their place until their entry is taken out; no text of Plaid's can be equal to it.
MARK = b"not-a-number-" + secrets.token_hex(16).encode() + b":"
MARKED = re.compile(rb'"' + MARK + rb'(NaN|-?Infinity)"')
_page = msgspec.json.Decoder(SyncPage)
_loose = msgspec.json.Decoder(LoosePage)
_shapes = {place: msgspec.json.Decoder(shape) for place, shape in SHAPES.items()}


def decode_page(body: bytes) -> tuple[SyncPage, bytes, list[Rejected]]:
    """Return an answer's page, its body without what is malformed in it, and what that was.

    One malformed transaction costs that transaction, never the page around it. Characters that no text can hold (NUL,
    half a surrogate pair) become U+FFFD.

    Raises:
        RetryLaterError: `MALFORMED_ANSWER`; something between us and Plaid, or Plaid, sent something else.
    """
    if SUSPICIOUS.search(body):
        body = ESCAPE.sub(_storable, body)
    try:
        return _page.decode(body), body, []
    except MALFORMED:
        return _sifted(body)


def _storable(escape: "re.Match[bytes]") -> bytes:
    text: bytes = escape[0]
    is_half = ESCAPED_SURROGATE.match(text) and len(text) == HALF_A_PAIR
    return REPLACEMENT if is_half or text == NUL else text


def loose_page(body: bytes) -> LoosePage:
    """Return a page with its lists unread.

    Raises:
        RetryLaterError: `MALFORMED_ANSWER`.
    """
    try:
        return _loose.decode(body)
    except MALFORMED:
        raise RetryLaterError("MALFORMED_ANSWER") from None


def rejections(place: str, entries: list[msgspec.Raw]) -> Iterator[Rejected]:
    """Yield the entries of a list that do not have the shape of it."""
    for entry in entries:
        # A removal says enough by its id, and one that is not heard leaves a row standing.
        if place != "removed" and MARK in bytes(entry):
            yield Rejected(place, bytes(entry), "holds NaN or Infinity, which JSON has not")
            continue
        try:
            _shapes[place].decode(entry)
        except MALFORMED as error:
            yield Rejected(place, bytes(entry), str(error))


def readable(body: bytes) -> bytes:
    """Return a JSON text with NaN and Infinity, which some writers write and no reader has to take, as marked strings.

    `as_it_came` undoes it.
    """
    return STRING_OR_NO_NUMBER.sub(_marked, body) if any(word in body for word in NO_NUMBERS) else body


def as_it_came(body: bytes) -> bytes:
    """Return what `readable` was given."""
    return MARKED.sub(rb"\1", body)


def _marked(found: "re.Match[bytes]") -> bytes:
    text: bytes = found[0]
    return text if text.startswith(b'"') else b'"' + MARK + text + b'"'


def _sifted(body: bytes) -> tuple[SyncPage, bytes, list[Rejected]]:
    loose = loose_page(readable(body))
    rejected = [one for place in SHAPES for one in rejections(place, getattr(loose, place))]
    clean = without(loose, rejected)
    return _page.decode(clean), clean, [Rejected(one.place, as_it_came(one.body), one.reason) for one in rejected]


def without(page: LoosePage, rejected: list[Rejected]) -> bytes:
    """Return the body of a page less the rejected entries, all others byte for byte as they came."""
    bad = {(one.place, one.body) for one in rejected}
    for place in SHAPES:
        setattr(page, place, [entry for entry in getattr(page, place) if (place, bytes(entry)) not in bad])
    return msgspec.json.encode(page)
