"""A person or a program asks for one Item's sync."""

from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditEventType, log_audit_event
from core.errors import ItemNotUsableError, NotFoundError
from core.items.access import GONE, reveal_token
from core.items.notices import REPAIRED_VALUES, SYNC_VALUES
from core.models import PlaidItem, SyncTrigger
from core.plaid.endpoints import refresh_transactions
from core.resources import Resources


async def request_sync(
    resources: Resources, item_id: UUID, actor: str, *, refresh: bool = False, repaired: bool = False
) -> None:
    """Mark the Item, durably, and send for its sync; the answer does not wait for it.

    Args:
        resources: the process's.
        item_id: our id.
        actor: who asks, for the audit log.
        refresh: have Plaid ask the bank first, which takes seconds and is a paid add-on.
        repaired: the user has been through Link's update mode: the Item counts as repaired until the sync tells.

    Raises:
        NotFoundError: there is no such Item.
        ItemNotUsableError: its access has ended.
        SyncError: Plaid refused the refresh; nothing was sent for.
    """
    if refresh:
        await refresh_transactions(resources.plaid, await reveal_token(resources, item_id, "refresh"))
    async with resources.database.transaction() as session:
        changed = update(PlaidItem).where(PlaidItem.id == item_id, PlaidItem.status.not_in(GONE))
        values = REPAIRED_VALUES if repaired else SYNC_VALUES
        found = await session.execute(
            changed.values(values).returning(PlaidItem.id), execution_options={"synchronize_session": False}
        )
        if found.first() is None:
            await _explain(session, item_id)
        await log_audit_event(
            AuditEventType.SYNC_REQUESTED,
            "A sync was asked for",
            session=session,
            actor=actor,
            resource=f"item:{item_id}",
        )
    await resources.publisher.publish_once(item_id, SyncTrigger.MANUAL)


async def _explain(session: AsyncSession, item_id: UUID) -> None:
    # In the transaction that found nothing: who holds one connection and waits for another may wait for its like.
    item = await session.get(PlaidItem, item_id)
    if item is None:
        raise NotFoundError(f"there is no Item {item_id}")
    raise ItemNotUsableError(f"the Item's access has ended, its status is {item.status.value}")
