"""Has Plaid send Items' webhooks here: wanted when one is linked, or by an operator; tried until Plaid agrees."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import Database
from core.errors import ItemNotUsableError, NotFoundError, SyncError
from core.items.access import reveal_token
from core.items.attempts import claim_due, pause_seconds, try_each
from core.models import ItemStatus, PlaidItem, WebhookRegistration
from core.plaid.endpoints import update_webhook
from core.resources import Resources

log = structlog.get_logger()

# Also one that its user has to repair: that it was repaired is told by a webhook.
LIVING = (ItemStatus.ACTIVE, ItemStatus.NEEDS_REAUTH, ItemStatus.ERROR)


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
        await _close(resources, item_id, wanted)


def _elsewhere(wanted: str) -> tuple[ColumnElement[bool], ...]:
    return PlaidItem.status.in_(LIVING), PlaidItem.webhook_url.is_distinct_from(wanted)


async def count_elsewhere(database: Database, wanted: str) -> int:
    """Return of how many Items Plaid has not agreed to send the webhooks to `wanted`."""
    async with database.connection() as connection:
        return (await connection.execute(select(func.count()).where(*_elsewhere(wanted)))).scalar_one()


async def request_registrations(database: Database, wanted: str, item_ids: Sequence[UUID] = ()) -> int:
    """Note that Plaid shall send these Items' webhooks to `wanted`, all of those that go elsewhere if none is named.

    Returns how many that are; what was noted before becomes due at once. Whoever asks twice changes nothing.
    """
    chosen = (PlaidItem.id.in_(item_ids), PlaidItem.status.in_(LIVING)) if item_ids else _elsewhere(wanted)
    noted = insert(WebhookRegistration).from_select(["item_id"], select(PlaidItem.id).where(*chosen))
    again = {"next_attempt_at": func.now(), "attempts": 0, "error_code": None}
    async with database.transaction() as session:
        result = await session.execute(noted.on_conflict_do_update(index_elements=["item_id"], set_=again))
    return int(result.rowcount)  # type: ignore[attr-defined]  # of an insert it is there


async def register_due(resources: Resources, on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Try every registration that is due, tell `on_progress` of each batch, and return to how many Plaid agreed."""
    agreed = 0
    while (wanted := resources.settings.webhook_url) is not None and (claimed := await _claim(resources)):
        agreed += await try_each(partial(_register, resources, wanted), claimed)
        on_progress(len(claimed))
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
        await _close(resources, registration.item_id, None)
        return False
    except SyncError as error:
        await _postpone(resources, registration, error)
        return False
    await _close(resources, registration.item_id, wanted)
    return True


async def _close(resources: Resources, item_id: UUID, agreed: str | None) -> None:
    async with resources.database.transaction() as session:
        await session.execute(delete(WebhookRegistration).where(WebhookRegistration.item_id == item_id))
        if agreed is not None:
            mine = update(PlaidItem).where(PlaidItem.id == item_id)
            # The version stays: a sync under way has nothing to do with it.
            await session.execute(mine.values(webhook_url=agreed), execution_options={"synchronize_session": False})


async def _postpone(resources: Resources, registration: DueRegistration, error: SyncError) -> None:
    seconds, code = pause_seconds(registration.attempts, error), error.error_code
    log.warning("webhook_not_registered", item_id=str(registration.item_id), error_code=code, seconds=int(seconds))
    mine = update(WebhookRegistration).where(WebhookRegistration.item_id == registration.item_id)
    values = {"next_attempt_at": func.now() + timedelta(seconds=seconds), "error_code": code}
    async with resources.database.transaction() as session:
        await session.execute(mine.values(values))
