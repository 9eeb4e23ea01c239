"""Two guards: the lease in Redis saves work, the version check in PostgreSQL is the guarantee."""

from core.locking.optimistic import OptimisticLockMixin, safe_cursor_update
from core.locking.redis_lock import DistributedLock

__all__ = ["DistributedLock", "OptimisticLockMixin", "safe_cursor_update"]
