import datetime as dt
from typing import Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from core.models import ItemStatus, ReplayStatus
from core.sync.replay import Selection
from core.sync.replay.record import RATE_PER_MINUTE
from web.schemas.words import Instant, Request, Shape, Word

MOST_IDS = 1000
MOST_A_MINUTE = 100_000
REPLAY_ID = "0199f3c2-8a10-7d3e-9b1f-5c2d7e8f9a01"
CHOOSES = ("ids", "error_code", "error_type", "institution_id", "since", "until", "item_status")


class ReplayRequest(Request):
    """Which failing Items shall be synced again; fields narrow each other, and one of them at least is given."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"error_code": "DECRYPTION_FAILED", "since": "2026-05-01T00:00:00Z", "rate": 60},
                {"institution_id": "ins_109508", "dry_run": True},
            ]
        }
    )

    ids: list[UUID] = Field(default_factory=list, max_length=MOST_IDS, description="Of failed runs or of Items.")
    error_code: Word | None = Field(None, description="What a run failed with, or the Item fails with now.")
    error_type: Word | None = Field(None, description="The class of the failure: `ITEM_ERROR`, `MANNA` for our own.")
    institution_id: Word | None = None
    since: Instant | None = Field(None, description="Failed then or later.")
    until: Instant | None = Field(None, description="Failed before.")
    item_status: ItemStatus | None = Field(None, description="`error` are those set aside after too many failures.")
    from_journal: bool = Field(
        default=False,
        description="Apply the recorded pages of each Item's newest failed run, without Plaid (PAGE_JOURNAL_DAYS).",
    )
    rate: int = Field(RATE_PER_MINUTE, ge=1, le=MOST_A_MINUTE, description="Items a minute.")
    dry_run: bool = Field(default=False, description="Only tell which Items it would be.")

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if not any(getattr(self, name) for name in CHOOSES):
            raise ValueError(f"chooses nothing; accepted are {', '.join(CHOOSES)}")
        return self

    def selection(self) -> Selection:
        """Return which Items."""
        asked = {name: getattr(self, name) for name in (*CHOOSES, "from_journal")}
        return Selection(**asked | {"ids": tuple(self.ids)})


class Replay(Shape):
    """A replay and its progress: Items in all, waiting for their turn, sent, and what came of the others."""

    id: UUID = Field(examples=[REPLAY_ID])
    status: ReplayStatus
    asked_by: str = Field(examples=["token:ops"])
    selection: dict[str, Any] = Field(examples=[{"error_code": "DECRYPTION_FAILED"}])
    rate_per_minute: int = Field(examples=[60])
    created_at: dt.datetime
    finished_at: dt.datetime | None
    items: int = Field(examples=[200])
    waiting: int
    sent: int
    succeeded: int
    failed: int


class ReplayDetail(Replay):
    """A replay with what failed again, by error code."""

    failed_by_code: dict[str, int] = Field(examples=[{"ITEM_LOGIN_REQUIRED": 3}])


class PreviewRow(Shape):
    """So many Items that stand so; `error_code` is null for one that has not been synced since a run of it failed."""

    status: ItemStatus
    error_code: str | None = Field(examples=["DECRYPTION_FAILED"])
    items: int = Field(examples=[200])


class ReplayPreview(Shape):
    """What a replay would take; nothing was changed."""

    dry_run: bool = Field(examples=[True])
    items: int = Field(examples=[200])
    rows: list[PreviewRow]
