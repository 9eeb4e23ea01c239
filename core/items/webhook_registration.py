"""Has Plaid send an Item's webhooks here: wanted with the Item's first commit, tried until Plaid agrees."""

from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import ItemNotUsableError, NotFoundError, SyncError
from core.items.access import reveal_token
from core.items.attempts import claim_due, pause_seconds, try_each
from core.models import WebhookRegistration
from core.plaid.endpoints import update_webhook
from core.resources import Resources

log = structlog.get_logger()


class DueRegistration(NamedTuple):
    """A registration that is claimed by moving its next attempt."""

    item_id: UUID
    attempts: int


def want_registration(session: AsyncSession, item_id: UUID, after: timedelta) -> None:
    """Note, in the caller's transaction, that an Item's webhooks shall come here; `after` is when to look into it."""
    session.add(WebhookRegistration(item_id=item_id, next_attempt_at=func.now() + after))


async def register_webhook(resources: Resources, item_id: UUID, access_token: str, current: str | None) -> None:
    """Register the webhook of an Item just linked, unless `current` is it; a failure is made good by the schedule."""
    wanted = resources.settings.webhook_url
    if wanted is None:
        return
    try:
        if current != wanted:
            await update_webhook(resources.plaid, access_token, wanted)
    except SyncError as error:
        await _postpone(resources, DueRegistration(item_id, 0), error)
    else:
        await _close(resources, item_id)


async def register_due(resources: Resources) -> int:
    """Try every registration that is due, and return to how many Plaid agreed."""
    agreed = 0
    while (wanted := resources.settings.webhook_url) is not None and (claimed := await _claim(resources)):
        agreed += await try_each(partial(_register, resources, wanted), claimed)
    return agreed


async def _claim(resources: Resources) -> list[DueRegistration]:
    claim = claim_due(WebhookRegistration, resources.settings)
    async with resources.database.transaction() as session:
        return [DueRegistration(row.item_id, row.attempts) for row in await session.execute(claim)]


async def _register(resources: Resources, wanted: str, registration: DueRegistration) -> bool:
    try:
        token = await reveal_token(resources, registration.item_id, "webhook_registration")
        await update_webhook(resources.plaid, token, wanted)
    except (NotFoundError, ItemNotUsableError):
        # There is nothing left that webhooks could come for. Plaid's word is not enough: a token that is just being
        # replaced is told the same, and that Item lives.
        await _close(resources, registration.item_id)
        return False
    except SyncError as error:
        await _postpone(resources, registration, error)
        return False
    await _close(resources, registration.item_id)
    return True


async def _close(resources: Resources, item_id: UUID) -> None:
    async with resources.database.transaction() as session:
        await session.execute(delete(WebhookRegistration).where(WebhookRegistration.item_id == item_id))


async def _postpone(resources: Resources, registration: DueRegistration, error: SyncError) -> None:
    seconds, code = pause_seconds(registration.attempts, error), error.error_code
    log.warning("webhook_not_registered", item_id=str(registration.item_id), error_code=code, seconds=int(seconds))
    mine = update(WebhookRegistration).where(WebhookRegistration.item_id == registration.item_id)
    values = {"next_attempt_at": func.now() + timedelta(seconds=seconds), "error_code": code}
    async with resources.database.transaction() as session:
        await session.execute(mine.values(values))
