from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from core.database import Database
from core.models import WebhookEvent
from core.queries.pages import Page, fetch_page


@dataclass(frozen=True, slots=True)
class WebhookFilter:
    """What a webhook must fit; None fits all. `unknown_item` picks those of Items that we do not have."""

    item_id: UUID | None = None
    webhook_code: str | None = None
    unknown_item: bool | None = None


async def find_webhook_events(database: Database, wanted: WebhookFilter, limit: int, cursor: str | None = None) -> Page:
    """Return a page of the webhooks that were received and kept."""
    query = select(WebhookEvent.__table__)
    if wanted.item_id is not None:
        query = query.where(WebhookEvent.item_id == wanted.item_id)
    if wanted.webhook_code is not None:
        query = query.where(WebhookEvent.webhook_code == wanted.webhook_code)
    if wanted.unknown_item is not None:
        query = query.where(
            WebhookEvent.item_id.is_(None) if wanted.unknown_item else WebhookEvent.item_id.is_not(None)
        )
    return await fetch_page(database, query, [WebhookEvent.id], limit, cursor)
