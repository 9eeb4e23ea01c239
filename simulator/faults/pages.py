"""Faults in the answers of /transactions/sync, and of any endpoint's document."""

from dataclasses import replace
from typing import Any, Literal

import msgspec

from simulator.bank.changes import ORDERS
from simulator.bank.paging import empty_page
from simulator.call import OK, SYNC_PATH, Answer
from simulator.faults.fault import Fault, Strike
from simulator.json_codec import encode
from simulator.responses import sync_body

Document = dict[str, Any]


class _Altered(Fault, frozen=True):
    """Alter the document of an answer that is no error."""

    async def strike(self, strike: Strike) -> Answer | None:
        """Let the endpoint answer, then alter."""
        answer = await strike.proceed()
        if answer is None or answer.status != OK:
            return answer
        document = answer.document()
        self.alter(document, strike)
        return replace(answer, body=encode(document))

    def alter(self, document: Document, strike: Strike) -> None:
        """Change the document in place."""
        raise NotImplementedError


class Patch(_Altered, tag="patch", frozen=True):
    """Set and remove top-level fields."""

    set: Document = msgspec.field(default_factory=dict)
    remove: list[str] = msgspec.field(default_factory=list)

    def alter(self, document: Document, _strike: Strike) -> None:
        """Patch it."""
        document |= self.set
        for name in self.remove:
            document.pop(name, None)


class NullCursor(_Altered, tag="null_cursor", frozen=True):
    """Give `next_cursor` as null, or as "", whatever else the page holds."""

    path: str | None = SYNC_PATH
    value: Literal[""] | None = None

    def alter(self, document: Document, _strike: Strike) -> None:
        """Blank the cursor."""
        document["next_cursor"] = self.value


class MalformedTransaction(_Altered, tag="malformed_transaction", frozen=True):
    """Spoil one transaction of a page: the one with `transaction_id` if it is there, or the first one.

    `set` and `remove` change its fields; `set_raw` puts in text that need not be JSON, such as NaN.
    """

    path: str | None = SYNC_PATH
    transaction_id: str | None = None
    set: Document = msgspec.field(default_factory=dict)
    set_raw: dict[str, str] = msgspec.field(default_factory=dict)
    remove: list[str] = msgspec.field(default_factory=list)

    def alter(self, document: Document, _strike: Strike) -> None:
        """Spoil it; without fields its amount becomes a word."""
        raw = {name: msgspec.Raw(text.encode()) for name, text in self.set_raw.items()}
        fields = {**self.set, **raw} if self.set or raw or self.remove else {"amount": "twelve"}
        chosen = [
            one
            for one in (*document["added"], *document["modified"])
            if self.transaction_id in (None, one["transaction_id"])
        ]
        for one in chosen[:1]:
            one.update(fields)
            for name in self.remove:
                one.pop(name, None)


class UnknownValues(_Altered, tag="unknown_values", frozen=True):
    """Fields and enum values that Plaid may add one day: in the answer, its accounts and its transactions."""

    path: str | None = SYNC_PATH

    def alter(self, document: Document, _strike: Strike) -> None:
        """Add them."""
        novelty = {"field_of_tomorrow": {"nested": [1, None, "x"]}}
        document |= novelty | {"transactions_update_status": "STATUS_OF_TOMORROW"}
        for account in document["accounts"]:
            account.update(novelty, type="type_of_tomorrow", subtype="subtype of tomorrow")
        for one in (*document["added"], *document["modified"]):
            one.update(novelty, payment_channel="channel of tomorrow", transaction_type="type of tomorrow")


class Stuck(_Altered, tag="stuck", frozen=True):
    """A loop that does not advance: `has_more`, and the cursor that was asked with; `empty` leaves the arrays out."""

    path: str | None = SYNC_PATH
    empty: bool = False

    def alter(self, document: Document, strike: Strike) -> None:
        """Point the page to itself; without a cursor asked with, to the next, which is the one to get stuck at."""
        document["has_more"] = True
        document["next_cursor"] = strike.call.peek.cursor or document["next_cursor"]
        if self.empty:
            document |= {"added": [], "modified": [], "removed": []}


class EmptyPage(Fault, tag="empty_page", frozen=True):
    """Give a page with `has_more` and empty arrays; the one that it puts off comes next."""

    path: str | None = SYNC_PATH

    async def strike(self, strike: Strike) -> Answer | None:
        """Put the page off, unless there is none."""
        item, answer = strike.call.item, await strike.proceed()
        if item is None or not item.is_ready() or answer is None or answer.status != OK:
            return answer
        page = empty_page(item, strike.call.peek.cursor or "", strike.call.account_id())
        return replace(answer, body=sync_body(item, page, strike.call.request_id, described=False))


class Split(Fault, tag="split", frozen=True):
    """Keep removals off the pages of everything else, in the loop that begins with the struck request."""

    path: str | None = SYNC_PATH
    page: Literal["first", "middle"] | None = "first"
    order: Literal["removed_last", "removed_first"] = "removed_last"

    async def strike(self, strike: Strike) -> Answer | None:
        """Set the Item's order."""
        if strike.call.item is not None:
            strike.call.item.order = ORDERS[self.order]
        return await strike.proceed()
