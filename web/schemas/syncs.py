import datetime as dt
from uuid import UUID

from pydantic import Field

from core.models import RunStatus, SyncTrigger
from web.schemas.words import Shape


class Run(Shape):
    """One attempt to bring one Item up to date."""

    id: UUID
    item_id: UUID
    trigger: SyncTrigger
    status: RunStatus
    started_at: dt.datetime
    finished_at: dt.datetime | None
    pages: int
    added: int
    modified: int
    removed: int
    restarts: int
    attempt: int
    error_type: str | None
    error_code: str | None = Field(examples=["INSTITUTION_DOWN", None])
    plaid_request_id: str | None
