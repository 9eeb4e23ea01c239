"""Faults in Plaid's own words: it refuses."""

from typing import ClassVar, Literal

from simulator.bank.changes import Natural
from simulator.call import SYNC_PATH, Answer, Call, Proceed, refusal
from simulator.errors import PlaidError, foreign_cursor, mutation, outdated_cursor
from simulator.faults.catalogue import plaid_error
from simulator.faults.exchange import Status
from simulator.faults.fault import Fault, PhasedFault, Strike


class Error(PhasedFault, tag="error", frozen=True, kw_only=True):
    """Answer with Plaid's error object; type, status and message follow from the code unless they are given."""

    error_code: str
    error_type: str | None = None
    status: Status | None = None
    message: str | None = None
    display_message: str | None = None
    retry_after: Natural | None = None

    async def spoil(self, strike: Strike, _rest: Proceed) -> Answer | None:
        """Give the error."""
        usual = plaid_error(self.error_code, self.message)
        status, error_type = self.status or usual.status, self.error_type or usual.error_type
        error = PlaidError(status, error_type, self.error_code, usual.message)
        error.display_message, error.retry_after = self.display_message, self.retry_after
        return refusal(error, strike.call.request_id)


class Mutation(Fault, tag="mutation", frozen=True):
    """Refuse a page, as if the ledger had changed since the loop's first: asking for that page again fails again."""

    path: str | None = SYNC_PATH
    page: Literal["first", "middle"] | None = "middle"

    async def strike(self, strike: Strike) -> Answer | None:
        """Outdate the loop's cursors and refuse."""
        if strike.call.item is not None:
            strike.call.item.ledger.outdate_loops()
        return refusal(mutation(), strike.call.request_id)


class _RefusedCursors(Fault, frozen=True):
    """From the struck request on, refuse every cursor that the Item was given, until it is asked with none."""

    path: str | None = SYNC_PATH
    error: ClassVar[PlaidError]

    def fits(self, call: Call) -> bool:
        """Strike only where a cursor is given."""
        return super().fits(call) and call.item is not None and bool(call.peek.cursor)

    async def strike(self, strike: Strike) -> Answer | None:
        """Outdate the cursors; the endpoint itself refuses them."""
        if strike.call.item is not None:
            strike.call.item.cursor_refusal = self.error
        return await strike.proceed()


class StickyMutation(_RefusedCursors, tag="sticky_mutation", frozen=True):
    """The mutation error from a stored, final cursor as well."""

    error = mutation()


class ForeignCursor(_RefusedCursors, tag="foreign_cursor", frozen=True):
    """`cursor not associated with access_token`."""

    error = foreign_cursor()


class OutdatedCursor(_RefusedCursors, tag="cursor_outdated", frozen=True):
    """The cursors are too old."""

    error = outdated_cursor()
