"""The query parameters of every listing, and the problem answers of every route."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import Field

from core.models import ItemStatus, ReplayStatus, RunStatus, SyncTrigger
from core.queries.audit_events import AuditFilter
from core.queries.items import ItemFilter
from core.queries.replays import ReplayFilter
from core.queries.runs import RunFilter
from core.queries.transactions import TransactionFilter
from core.queries.webhook_events import WebhookFilter
from web.schemas.words import Instant, Problem, Request, Word

MAX_LIMIT = 500
PAGING = {"limit", "cursor"}
SINCE = "Then or later."
UNTIL = "Before."


class Listing(Request):
    """What every listing takes."""

    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="How many at most.")
    cursor: str | None = Field(
        None, min_length=1, max_length=1024, description="`next_cursor` of the page before, as it was given."
    )

    def given(self) -> dict[str, Any]:
        """Return the filters alone."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in PAGING}


class ItemQuery(Listing):
    """Which Items."""

    status: ItemStatus | None = None
    user_id: Word | None = None
    institution_id: Word | None = None
    error_code: Word | None = None

    def filter(self) -> ItemFilter:
        """Return what an Item must fit."""
        return ItemFilter(**self.given())


class TransactionQuery(Listing):
    """Which transactions."""

    account_id: Word | None = None
    start_date: dt.date | None = Field(None, description="The first day, included.")
    end_date: dt.date | None = Field(None, description="The last day, included.")
    pending: bool | None = None
    include_removed: bool = Field(default=False, description="Also those that stand no more.")

    def filter(self) -> TransactionFilter:
        """Return what a transaction must fit."""
        return TransactionFilter(**self.given())


class RunQuery(Listing):
    """Which runs."""

    item_id: UUID | None = None
    status: RunStatus | None = None
    trigger: SyncTrigger | None = None
    error_code: Word | None = None
    error_type: Word | None = Field(None, description="The class: `ITEM_ERROR`, `MANNA` for failures of ours.")
    institution_id: Word | None = None
    since: Instant | None = Field(None, description=SINCE)
    until: Instant | None = Field(None, description=UNTIL)

    def filter(self) -> RunFilter:
        """Return what a run must fit."""
        return RunFilter(**self.given())


class ReplayQuery(Listing):
    """Which replays."""

    status: ReplayStatus | None = None
    asked_by: Word | None = None

    def filter(self) -> ReplayFilter:
        """Return what a replay must fit."""
        return ReplayFilter(**self.given())


class AuditQuery(Listing):
    """Which audit events."""

    event_type: Word | None = None
    actor: Word | None = None
    resource: Word | None = None
    since: Instant | None = Field(None, description=SINCE)
    until: Instant | None = Field(None, description=UNTIL)

    def filter(self) -> AuditFilter:
        """Return what an event must fit."""
        return AuditFilter(**self.given())


class WebhookQuery(Listing):
    """Which webhooks."""

    item_id: UUID | None = None
    webhook_code: Word | None = None
    unknown_item: bool | None = Field(None, description="Those of Items that we do not have.")

    def filter(self) -> WebhookFilter:
        """Return what a webhook must fit."""
        return WebhookFilter(**self.given())


# By name, described once (`web.description`): a client that is generated has one type for it.
PROBLEM = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
MEANINGS = {
    401: "No valid token.",
    403: "The token lacks the scope.",
    404: "There is no such thing.",
    409: "It does not go with the present state.",
    422: "The request does not fit its description.",
    429: "Too many requests.",
    502: "Plaid refused; an operator has to act.",
    503: "A part is away; try again.",
}
COMMON = (401, 403, 422, 429, 503)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of a route's problem answers: the given ones, and those that every route has."""
    return {status: {"description": MEANINGS[status], "content": PROBLEM} for status in sorted({*COMMON, *statuses})}
