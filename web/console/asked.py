"""What the search forms ask for: a field that was left empty asks for nothing."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from core.audit import AuditEventType
from core.models import ItemStatus, RunStatus, SyncTrigger
from core.queries.audit_events import AuditFilter
from core.queries.items import ItemFilter
from core.queries.runs import RunFilter
from core.sync.replay import Selection
from core.sync.replay.record import RATE_PER_MINUTE

MOST_A_MINUTE = 100_000
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Left = BeforeValidator(_or_none)
# The database keeps no NUL, and nothing of ours holds a control character.
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
GivenText = Annotated[Text | None, Left]


# An empty choice is none.
Ticked = Annotated[bool, BeforeValidator(lambda value: value or False)]


def _span(value: str | None) -> str | None:
    if value is not None and value not in SPANS:
        raise ValueError(f"accepted are {', '.join(SPANS)}")
    return value


class Asked(BaseModel):
    """The base: `cursor` asks for the page after another one; what is not known is passed over."""

    model_config = ConfigDict(extra="ignore")

    cursor: Annotated[Annotated[str, StringConstraints(max_length=1024)] | None, Left] = None

    def shown(self) -> dict[str, Any]:
        """Return what was asked for, for links and forms; without the cursor."""
        return self.model_dump(mode="json", exclude={"cursor"})


class ItemsAsked(Asked):
    """Which Items."""

    text: GivenText = None
    status: Annotated[ItemStatus | None, Left] = None
    institution_id: GivenText = None
    error_code: GivenText = None

    def filter(self) -> ItemFilter:
        """Return what an Item must fit."""
        return ItemFilter(self.status, None, self.institution_id, self.error_code, self.text)


class RunsAsked(Asked):
    """Which runs; failed ones unless another status is asked for, `any` for all."""

    item_id: Annotated[UUID | None, Left] = None
    status: Annotated[RunStatus | None, BeforeValidator(lambda value: None if value == "any" else value)] = (
        RunStatus.FAILED
    )
    trigger: Annotated[SyncTrigger | None, Left] = None
    error_code: GivenText = None
    institution_id: GivenText = None
    since: Annotated[str | None, BeforeValidator(_span), Left] = None

    def from_(self) -> datetime | None:
        """Return the moment from which on."""
        return datetime.now(UTC) - SPANS[self.since] if self.since else None

    def filter(self) -> RunFilter:
        """Return what a run must fit."""
        return RunFilter(
            self.item_id, self.status, self.trigger, self.error_code, self.institution_id, self.from_(), None
        )


class AuditAsked(Asked):
    """Which audit events."""

    event_type: Annotated[AuditEventType | None, Left] = None
    actor: GivenText = None
    resource: GivenText = None
    since: Annotated[str | None, BeforeValidator(_span), Left] = None

    def filter(self) -> AuditFilter:
        """Return what an event must fit."""
        since = datetime.now(UTC) - SPANS[self.since] if self.since else None
        return AuditFilter(self.event_type, self.actor, self.resource, since, None)


class ReplayOrder(BaseModel):
    """What shall be replayed, as the dry run showed it: its moment stays, however long somebody thinks it over."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    error_code: GivenText = None
    institution_id: GivenText = None
    since: Annotated[AwareDatetime | None, Left] = None
    item_status: Annotated[ItemStatus | None, Left] = None
    from_journal: Ticked = False
    rate: Annotated[int, Field(ge=1, le=MOST_A_MINUTE)] = RATE_PER_MINUTE

    def selection(self) -> Selection:
        """Return which Items."""
        return Selection(
            error_code=self.error_code,
            institution_id=self.institution_id,
            since=self.since,
            item_status=self.item_status,
            from_journal=self.from_journal,
        )


class ReplayAsked(Asked):
    """What a replay would take; `since` as a span."""

    error_code: GivenText = None
    institution_id: GivenText = None
    since: Annotated[str | None, BeforeValidator(_span), Left] = None
    item_status: Annotated[ItemStatus | None, Left] = None
    from_journal: Ticked = False
    rate: Annotated[int, Field(ge=1, le=MOST_A_MINUTE)] = RATE_PER_MINUTE

    def order(self) -> ReplayOrder:
        """Return it with the moment that the span reaches back to now."""
        since = datetime.now(UTC).replace(second=0, microsecond=0) - SPANS[self.since] if self.since else None
        return ReplayOrder(**self.model_dump(exclude={"cursor", "since"}), since=since)
