"""Faults of the exchange itself: it waits, breaks off, or brings something that is not Plaid's."""

import asyncio
from dataclasses import replace
from typing import Annotated

import msgspec

from simulator.bank.changes import Natural
from simulator.call import JSON, OK, Answer, Proceed
from simulator.faults.fault import Fault, PhasedFault, Strike
from simulator.rules.holds import CUT

Status = Annotated[int, msgspec.Meta(ge=200, le=599)]
BAD_GATEWAY = 502
GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><center>502 Bad Gateway</center></body></html>"


class Hold(PhasedFault, tag="hold", frozen=True):
    """Hold the request, or the response, until it is released or its client goes."""

    async def spoil(self, strike: Strike, rest: Proceed) -> Answer | None:
        """Wait, then go on or cut."""
        call = strike.call
        what = {"path": call.path, "cursor": call.peek.cursor}
        how = await strike.holds.keep(strike.fault_id, call.item_id, what, call.gone)
        return None if how == CUT else await rest()


class Delay(PhasedFault, tag="delay", frozen=True, kw_only=True):
    """Let the request, or the response, wait for so many milliseconds."""

    ms: Natural

    async def spoil(self, _strike: Strike, rest: Proceed) -> Answer | None:
        """Wait, then go on."""
        await asyncio.sleep(self.ms / 1000)
        return await rest()


class Cut(PhasedFault, tag="cut", frozen=True):
    """Cut the connection: with no answer, or, where `bytes` is given, after so many of the answer's body."""

    bytes: Natural | None = None

    async def spoil(self, _strike: Strike, rest: Proceed) -> Answer | None:
        """Give no answer, or a part of it."""
        if self.bytes is None:
            return None
        answer = await rest()
        return None if answer is None else replace(answer, cut_after=self.bytes)


class Body(PhasedFault, tag="body", frozen=True):
    """Answer with any status, headers and text."""

    body: str = ""
    status: Status = OK
    content_type: str = JSON
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    async def spoil(self, _strike: Strike, _rest: Proceed) -> Answer | None:
        """Give the text."""
        return Answer(self.body.encode(), self.status, self.content_type, self.headers)


class Html(Body, tag="html", frozen=True):
    """Answer with the page of a gateway in front of Plaid."""

    body: str = GATEWAY_PAGE
    status: Status = BAD_GATEWAY
    content_type: str = "text/html"


class Truncate(Fault, tag="truncate", frozen=True, kw_only=True):
    """Give a whole HTTP answer whose JSON ends after `bytes`."""

    bytes: Natural

    async def strike(self, strike: Strike) -> Answer | None:
        """Shorten the body."""
        answer = await strike.proceed()
        return None if answer is None else replace(answer, body=answer.body[: self.bytes])
