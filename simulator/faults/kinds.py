"""Faults of the exchange itself, and Plaid's own errors."""

from dataclasses import replace
from typing import Annotated, Literal

import msgspec

from simulator.call import SYNC_PATH, Answer, Proceed, refusal
from simulator.errors import PlaidError, mutation
from simulator.faults.catalogue import plaid_error
from simulator.faults.fault import Fault, Natural, PhasedFault, Strike
from simulator.faults.holds import CUT

Status = Annotated[int, msgspec.Meta(ge=200, le=599)]


class Hold(PhasedFault, tag="hold", frozen=True):
    """Hold the request, or the response, until it is released or its client goes."""

    async def spoil(self, strike: Strike, rest: Proceed) -> Answer | None:
        """Wait, then go on or cut."""
        how = await strike.holds.keep(strike.fault_id, strike.call)
        return None if how == CUT else await rest()


class Cut(PhasedFault, tag="cut", frozen=True):
    """Cut the connection: with no answer, or, where `bytes` is given, after so many of the answer's body."""

    bytes: Natural | None = None

    async def spoil(self, _strike: Strike, rest: Proceed) -> Answer | None:
        """Give no answer, or a part of it."""
        if self.bytes is None:
            return None
        answer = await rest()
        return None if answer is None else replace(answer, cut_after=self.bytes)


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
        return refusal(self._error(), strike.call.request_id)

    def _error(self) -> PlaidError:
        usual = plaid_error(self.error_code, self.message)
        error = PlaidError(
            self.status or usual.status, self.error_type or usual.error_type, self.error_code, usual.message
        )
        error.display_message = self.display_message
        error.retry_after = self.retry_after
        return error


class Mutation(Fault, tag="mutation", frozen=True):
    """Refuse a page, as if the ledger had changed since the loop's first: asking for that page again fails again."""

    path: str | None = SYNC_PATH
    page: Literal["first", "middle"] | None = "middle"

    async def strike(self, strike: Strike) -> Answer | None:
        """Outdate the loop's cursors and refuse."""
        if strike.call.item is not None:
            strike.call.item.ledger.outdate_loops()
        return refusal(mutation(), strike.call.request_id)
