import time
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Annotated, Literal

import msgspec

from simulator.errors import PlaidError, rate_limited

MINUTE = 60.0
# Per minute: production Item and client, sandbox Item and client. Source: Plaid's published limits of 2026-03-07.
PUBLISHED: dict[str, tuple[int | None, int | None, int | None, int | None]] = {
    "/transactions/sync": (50, 2500, 50, 1000),
    "/transactions/refresh": (2, 100, 2, 100),
    "/item/get": (15, 5000, 40, 5000),
    "/item/remove": (30, 2000, 100, 500),
    "/accounts/get": (15, 15000, 100, 5000),
    "/accounts/balance/get": (5, 1200, 25, 100),
    "/institutions/get_by_id": (None, 400, None, 400),
    "/sandbox/transactions/create": (2, 50, 2, 50),
}
CODES = {
    "/transactions/sync": "TRANSACTIONS_SYNC_LIMIT",
    "/transactions/refresh": "TRANSACTIONS_REFRESH_LIMIT",
    "/item/get": "ITEM_GET_LIMIT",
    "/accounts/get": "ACCOUNTS_LIMIT",
    "/accounts/balance/get": "ACCOUNTS_BALANCE_GET_LIMIT",
}
Scale = Annotated[float, msgspec.Meta(gt=0)]
Limit = Annotated[int, msgspec.Meta(ge=0)]


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls a minute, null for any number."""

    item: Limit | None = None
    client: Limit | None = None


class LimitRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is enforced.

    The published limits of `environment`, times `item_scale` and `client_scale`, unless `budgets` names others by path.
    `minute_seconds` is how long a minute lasts. Plaid says nothing about the `window` nor about Retry-After.
    """

    enforce: bool = True
    environment: Literal["production", "sandbox"] = "production"
    item_scale: Scale = 1.0
    client_scale: Scale = 1.0
    budgets: dict[str, Budget] = {}
    window: Literal["fixed", "sliding"] = "sliding"
    minute_seconds: Scale = MINUTE
    retry_after: bool = False

    def budget(self, path: str) -> Budget:
        """Return the budget of a path."""
        if path in self.budgets:
            return self.budgets[path]
        item, client, sandbox_item, sandbox_client = PUBLISHED.get(path, (None,) * 4)
        if self.environment == "sandbox":
            item, client = sandbox_item, sandbox_client
        return Budget(_scaled(item, self.item_scale), _scaled(client, self.client_scale))


class Limits:
    """Counts the accepted calls of the last minute, per path and Item and per path, and refuses what is too many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules = LimitRules(enforce=False)
        self._clock = clock
        self._accepted: dict[tuple[str, str], deque[float]] = {}

    def set(self, rules: LimitRules) -> None:
        """Enforce other rules from now on, with nothing used of any budget."""
        self.rules = rules
        self._accepted.clear()

    def check(self, path: str, item_id: str | None) -> None:
        """Accept a call; PlaidError when a budget is used up, and then nothing is counted."""
        if not self.rules.enforce:
            return
        budget = self.rules.budget(path)
        windows = [("client", budget.client, self._window(path, ""))]
        if item_id is not None:
            windows.append(("item", budget.item, self._window(path, item_id)))
        now = self._clock()
        for scope, limit, accepted in windows:
            self._forget(accepted, now)
            if limit is not None and len(accepted) >= limit:
                raise self._refusal(path, scope, accepted, now)
        for _, _, accepted in windows:
            accepted.append(now)

    def _window(self, path: str, item_id: str) -> deque[float]:
        return self._accepted.setdefault((path, item_id), deque())

    def _forget(self, accepted: deque[float], now: float) -> None:
        minute = self.rules.minute_seconds
        begin = now - minute if self.rules.window == "sliding" else now // minute * minute
        # In a sliding window a call is forgotten a whole minute after it came; a fixed one forgets all at once.
        while accepted and (accepted[0] <= begin if self.rules.window == "sliding" else accepted[0] < begin):
            accepted.popleft()

    def _refusal(self, path: str, scope: str, accepted: deque[float], now: float) -> PlaidError:
        error = rate_limited(CODES.get(path, "RATE_LIMIT"), scope)
        if self.rules.retry_after:
            error.retry_after = max(1, ceil(self._free_at(accepted, now) - now))
        return error

    def _free_at(self, accepted: deque[float], now: float) -> float:
        minute = self.rules.minute_seconds
        if self.rules.window == "fixed":
            return now // minute * minute + minute
        return (accepted[0] if accepted else now) + minute


def _scaled(limit: int | None, scale: float) -> int | None:
    return None if limit is None else max(1, round(limit * scale))
