from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

ADDED, MODIFIED, REMOVED = 0, 1, 2
_REMEMBERED_SPANS = 16


class Entry(NamedTuple):
    """One line of the update log: a transaction as it stands from here on, or its removal (`body` None)."""

    transaction_id: str
    account_id: str
    body: bytes | None
    original_description: bytes = b"null"

    def described(self) -> bytes:
        """The body with `original_description`, which Plaid gives only on demand."""
        body = self.body or b"{}"
        return body[:-1] + b',"original_description":' + self.original_description + b"}"


class Change(NamedTuple):
    """What one transaction's updates in a span of the log come to for a reader at the span's start."""

    kind: int
    entry: Entry


class Span(NamedTuple):
    """Which updates a reader asks for; `floor` is where its knowledge begins (non-zero after "now")."""

    start: int
    floor: int
    account_id: str
    split: bool


class Ledger:
    """An Item's transactions as an append-only update log; a position is a number of entries read.

    Positions stay valid for ever because nothing is ever taken out of the log. Asking for the same span
    twice between two appends costs nothing the second time.
    """

    def __init__(self) -> None:
        self._log: list[Entry] = []
        self._positions: dict[str, list[int]] = {}
        self._standing: dict[str, Entry] = {}
        self._spans: OrderedDict[Span, list[Change]] = OrderedDict()
        self._outdated = 0

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
        key = entry.transaction_id
        self._positions.setdefault(key, []).append(len(self._log))
        self._log.append(entry)
        self._standing.pop(key, None)
        if entry.body is not None:
            self._standing[key] = entry
        self._spans.clear()

    def remove(self, transaction_id: str) -> bool:
        """Append the removal; False when no such transaction stands."""
        standing = self._standing.get(transaction_id)
        if standing is None:
            return False
        self.append(Entry(transaction_id, standing.account_id, None))
        return True

    def standing(self) -> list[Entry]:
        """Every transaction that exists now, least recently changed first."""
        return list(self._standing.values())

    def get(self, transaction_id: str) -> Entry | None:
        """The transaction as it stands, if it does."""
        return self._standing.get(transaction_id)

    def net_changes(self, span: Span) -> list[Change]:
        """Per transaction its net change since `span.start`, ordered by last change. Not to be altered."""
        found = self._spans.get(span)
        if found is None:
            found = list(self._net_changes(span))
            if span.split:
                found.sort(key=lambda change: change.kind == REMOVED)
            self._spans[span] = found
            if len(self._spans) > _REMEMBERED_SPANS:
                self._spans.popitem(last=False)
        return found

    def _net_changes(self, span: Span) -> Iterator[Change]:
        last: dict[str, Entry] = {}
        for entry in self._log[span.start :]:
            last.pop(entry.transaction_id, None)
            last[entry.transaction_id] = entry
        for entry in last.values():
            if span.account_id in ("", entry.account_id):
                kind = self._kind(entry, span)
                if kind is not None:
                    yield Change(kind, entry)

    def _kind(self, entry: Entry, span: Span) -> int | None:
        positions = self._positions[entry.transaction_id]
        before = bisect_left(positions, span.start) - 1
        stood = before >= 0 and self._log[positions[before]].body is not None
        if entry.body is None:
            return REMOVED if stood else None
        # A reader that came in by "now" has never been given what lies before its floor.
        return MODIFIED if stood and positions[before] >= span.floor else ADDED
