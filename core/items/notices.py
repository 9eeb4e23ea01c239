"""What an Item's row is set to when somebody says that there is something new, or that its user has repaired it."""

from sqlalchemy import case, func

from core.models import ItemStatus, PlaidItem

# The version stays: a sync under way may still commit, it only has to be followed by one more.
SYNC_VALUES = {
    "sync_requested_at": func.clock_timestamp(),
    "next_sync_at": func.least(func.coalesce(PlaidItem.next_sync_at, func.now()), func.now()),
}
# Believed for the moment: the sync that follows finds out.
REPAIRED_VALUES = {
    "status": case((PlaidItem.status == ItemStatus.NEEDS_REAUTH, ItemStatus.ACTIVE), else_=PlaidItem.status),
    "error_type": None,
    "error_code": None,
    "consecutive_failures": 0,
    "access_ends_at": None,
    "access_ends_reason": None,
    "new_accounts_at": None,
    **SYNC_VALUES,
}
