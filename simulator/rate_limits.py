import time
from collections import defaultdict, deque

import msgspec

from simulator.errors import rate_limited

_WINDOW_SECONDS = 60.0


class RateLimits(msgspec.Struct, forbid_unknown_fields=True):
    """Requests a minute for one endpoint; None is no limit."""

    item_per_minute: int | None = None
    client_per_minute: int | None = None
    endpoint: str = "/transactions/sync"
    item_code: str = "TRANSACTIONS_SYNC_LIMIT"
    client_code: str = "TRANSACTIONS_LIMIT"
    retry_after: int | None = None


class RateLimiter:
    """Refuses the requests that are over the limits of a sliding minute; refused ones do not count."""

    def __init__(self) -> None:
        self.limits = RateLimits()
        self._passed: defaultdict[str, deque[float]] = defaultdict(deque)

    def set(self, limits: RateLimits) -> None:
        """Hold to other limits, with every minute begun anew."""
        self.limits = limits
        self._passed.clear()

    def admit(self, endpoint: str, item_id: str | None) -> None:
        """Count the request, or raise RATE_LIMIT_EXCEEDED."""
        limits = self.limits
        if endpoint != limits.endpoint:
            return
        item_key = item_id or "-"
        self._check(item_key, limits.item_per_minute, limits.item_code, "item")
        self._check("", limits.client_per_minute, limits.client_code, "client")
        now = time.monotonic()
        if limits.item_per_minute is not None:
            self._passed[item_key].append(now)
        if limits.client_per_minute is not None:
            self._passed[""].append(now)

    def _check(self, key: str, limit: int | None, code: str, scope: str) -> None:
        if limit is None:
            return
        passed, since = self._passed[key], time.monotonic() - _WINDOW_SECONDS
        while passed and passed[0] <= since:
            passed.popleft()
        if len(passed) >= limit:
            error = rate_limited(code, scope)
            error.retry_after = self.limits.retry_after
            raise error
