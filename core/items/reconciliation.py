"""A person asks for an Item to be compared with everything that Plaid has; a worker does it and records the outcome."""

from uuid import UUID

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.broker.messages import ReconcileItem
from core.errors import ItemNotUsableError, LockNotAcquiredError, NotFoundError, UnavailableError
from core.items.access import GONE
from core.models import PlaidItem
from core.resources import Resources
from core.sync.reconcile import reconcile


async def request_reconcile(resources: Resources, item_id: UUID, actor: str, *, repair: bool = False) -> None:
    """Record who asks, and send for it; the answer does not wait for it.

    Raises:
        NotFoundError: there is no such Item.
        ItemNotUsableError: its access has ended.
        UnavailableError: it could not be sent; ask again.
    """
    async with resources.database.transaction() as session:
        item = await session.get(PlaidItem, item_id)
        if item is None:
            raise NotFoundError(f"there is no Item {item_id}")
        if item.status in GONE:
            raise ItemNotUsableError(f"the Item's access has ended, its status is {item.status.value}")
        what, context = AuditEventType.RECONCILE_REQUESTED, AuditContext(reason="repair" if repair else "compare")
        message, resource = "Somebody asked for an Item to be compared with Plaid", f"item:{item_id}"
        await log_audit_event(what, message, session=session, context=context, actor=actor, resource=resource)
    if not await resources.publisher.publish(ReconcileItem(item_id, repair=repair, actor=actor)):
        raise UnavailableError("the broker is away: nothing was sent; ask again")


async def reconcile_and_record(resources: Resources, item_id: UUID, actor: str, *, repair: bool) -> None:
    """Reconcile an Item and record how many transactions were compared and how many differed.

    An Item that is just being synced is left alone, which is recorded too.

    Raises:
        NotFoundError: there is no such Item, or it was removed meanwhile.
    """
    try:
        drift = await reconcile(resources, item_id, repair=repair)
        context = AuditContext(
            count=drift.compared,
            drift=len(drift.differences),
            error_code=drift.outcome.error_code,
            reason="repaired" if drift.repaired else drift.outcome.status.value,
        )
    except LockNotAcquiredError:
        context = AuditContext(reason="being_synced")
    what, message, resource = AuditEventType.ITEM_RECONCILED, "An Item was compared with Plaid", f"item:{item_id}"
    database = resources.database
    await log_audit_event(what, message, database=database, context=context, actor=actor, resource=resource)
