import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import Field, field_serializer

from web.schemas.words import Shape


class AuditEvent(Shape):
    """A sealed event of the audit log."""

    seq: int
    event_id: UUID
    event_type: str = Field(examples=["plaid:item:synced"])
    occurred_at: dt.datetime
    actor: str = Field(examples=["manna-sync"])
    resource: str | None
    message: str
    context: dict[str, Any]
    prev_hash: bytes = Field(json_schema_extra={"type": "string", "pattern": "^[0-9a-f]{64}$"})
    hash: bytes = Field(json_schema_extra={"type": "string", "pattern": "^[0-9a-f]{64}$"})

    @field_serializer("prev_hash", "hash")
    def _hex(self, digest: bytes) -> str:
        return digest.hex()


class WebhookEvent(Shape):
    """A verified webhook; `item_id` is null when it is about an Item that we do not have."""

    id: UUID
    webhook_type: str = Field(examples=["TRANSACTIONS"])
    webhook_code: str = Field(examples=["SYNC_UPDATES_AVAILABLE"])
    plaid_item_id: str | None
    item_id: UUID | None
    payload: dict[str, Any]
    issued_at: dt.datetime
    received_at: dt.datetime
