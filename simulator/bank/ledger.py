from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

from simulator.json_codec import decode, encode

ADDED, MODIFIED, REMOVED = 0, 1, 2
AS_IT_CAME, REMOVED_LAST, REMOVED_FIRST = 0, 1, 2
_PENDING = b'"pending":true'


class Entry(NamedTuple):
    """One line of the update log: a transaction as it stands from here on, or its removal (`own` is None).

    The JSON is kept ready in two parts: `own` opens it with what only this transaction has, `common` closes it with
    what its merchant decides, one object in memory for all transactions there.
    """

    transaction_id: str
    account_id: str
    own: bytes | None
    common: bytes = b"}"
    original_description: bytes = b"null"

    @classmethod
    def of(cls, document: dict[str, Any], original_description: bytes = b"null") -> "Entry":
        """Keep a transaction given as a document."""
        own = encode(document)[:-1]
        return cls(document["transaction_id"], document["account_id"], own, original_description=original_description)

    def body(self) -> bytes:
        """Return the transaction as JSON."""
        return (self.own or b"{") + self.common

    def described(self) -> bytes:
        """Return it with `original_description`, which Plaid gives only on demand."""
        return b"".join((self.own or b"{", b',"original_description":', self.original_description, self.common))

    def document(self) -> dict[str, Any]:
        """Return the transaction, to be altered."""
        found: dict[str, Any] = decode(self.body())
        return found

    def is_pending(self) -> bool:
        """Tell whether the bank has not settled it."""
        return self.own is not None and _PENDING in self.own


class Span(NamedTuple):
    """Which updates a reader asks for, in which order; `floor` is where its knowledge begins, not 0 after "now"."""

    start: int
    floor: int
    account_id: str
    order: int


class Changes(NamedTuple):
    """The net change of each transaction in a span: `kinds[i]` says what happened to `entries[i]`."""

    entries: list[Entry]
    kinds: bytes


class Ledger:
    """An Item's transactions as an append-only update log; a position is a number of entries read.

    Positions stay valid for ever because nothing is ever taken out of the log. Asking for the same span
    again before the next append costs nothing.
    """

    def __init__(self) -> None:
        self._log: list[Entry] = []
        self._before = array("q")  # of each entry, the position of the same transaction's entry before it, or -1
        self._latest: dict[str, int] = {}
        self._outdated = 0
        self._last_span: tuple[Span, Changes] | None = None

    @property
    def head(self) -> int:
        """The position behind the newest entry."""
        return len(self._log)

    @property
    def revision(self) -> int:
        """A number that every append raises; a loop's cursors are good for one revision."""
        return len(self._log) + self._outdated

    def outdate_loops(self) -> None:
        """Outdate every mid-loop cursor, as an append would, without one."""
        self._outdated += 1

    def append(self, entry: Entry) -> None:
        """Add the entry; every mid-loop cursor cut before it is thereby outdated."""
        # Taken out and put in again, so that the dictionary's order is that of the last change.
        self._before.append(self._latest.pop(entry.transaction_id, -1))
        self._latest[entry.transaction_id] = len(self._log)
        self._log.append(entry)
        self._last_span = None

    def remove(self, entry: Entry) -> None:
        """Append the removal of a standing transaction."""
        self.append(Entry(entry.transaction_id, entry.account_id, None))

    def standing(self) -> list[Entry]:
        """Every transaction that exists now, least recently changed first."""
        return [entry for position in self._latest.values() if (entry := self._log[position]).own is not None]

    def net_changes(self, span: Span) -> Changes:
        """Per transaction its net change since `span.start`, ordered by last change."""
        if self._last_span is None or self._last_span[0] != span:
            self._last_span = (span, self._collect(span))
        return self._last_span[1]

    def _collect(self, span: Span) -> Changes:
        found = list(self._net_changes(span))
        if span.order != AS_IT_CAME:
            found.sort(key=lambda change: (change[0] == REMOVED) == (span.order == REMOVED_LAST))
        return Changes([entry for _, entry in found], bytes(kind for kind, _ in found))

    def _net_changes(self, span: Span) -> Iterator[tuple[int, Entry]]:
        for position in range(span.start, len(self._log)):
            entry = self._log[position]
            is_latest = self._latest[entry.transaction_id] == position
            if is_latest and span.account_id in ("", entry.account_id):
                kind = self._kind(position, span)
                if kind is not None:
                    yield kind, entry

    def _kind(self, position: int, span: Span) -> int | None:
        before = self._before[position]
        while before >= span.start:
            before = self._before[before]
        stood = before >= 0 and self._log[before].own is not None
        if self._log[position].own is None:
            return REMOVED if stood else None
        # A reader that came in by "now" has never been given what lies before its floor.
        return MODIFIED if stood and before >= span.floor else ADDED
