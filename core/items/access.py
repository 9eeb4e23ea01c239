"""Reveals an Item's token for one call outside the line; recorded before it is handed out."""

from uuid import UUID

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import EncryptionError, ItemNotUsableError, NotFoundError, OperatorMustActError
from core.models import ItemStatus, PlaidItem
from core.resources import Resources

GONE = (ItemStatus.REVOKED, ItemStatus.REMOVED)


async def reveal_token(resources: Resources, item_id: UUID, purpose: str) -> str:
    """Return the access token of an Item that can still be used; `purpose` is a constant word for the audit log.

    Raises:
        NotFoundError: there is no such Item.
        ItemNotUsableError: its access has ended.
        OperatorMustActError: `DECRYPTION_FAILED`.
    """
    async with resources.database.transaction() as session:
        item = await session.get(PlaidItem, item_id)
        if item is None:
            raise NotFoundError(f"there is no Item {item_id}")
        if item.status in GONE:
            raise ItemNotUsableError(f"the Item's access has ended, its status is {item.status.value}")
        await log_audit_event(
            AuditEventType.TOKEN_DECRYPTED,
            "An access token is decrypted for a call",
            session=session,
            context=AuditContext(reason=purpose),
            resource=f"item:{item_id}",
        )
    try:
        return item.plaid_access_token
    except EncryptionError:
        raise OperatorMustActError("DECRYPTION_FAILED") from None
