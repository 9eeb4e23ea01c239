"""Counts requests in Redis for the whole fleet; in this process alone while Redis is away."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

# Redis answers within a millisecond or is away; a request does not wait to find out which.
ANSWER_SECONDS = 0.1
AWAY_SECONDS = 5.0
WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute of one kind, for each of `per`: an address or a token's subject."""

    name: str
    per: str
    amount: int
    item: RateLimitItem = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", RateLimitItemPerMinute(self.amount))


@dataclass(frozen=True, slots=True)
class Standing:
    """How somebody stands with a limit: whether this request passes, how many more would, seconds to more."""

    limit: Limit
    allowed: bool
    remaining: int
    reset_seconds: int


class Counter:
    """The counts; a sliding window, so that no minute's turn doubles what passes."""

    def __init__(self, redis: Redis) -> None:
        pool = redis.connection_pool
        # Its signature knows settings alone; the pool goes on to redis-py, as documented.
        options: dict[str, Any] = {"connection_pool": pool}
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="limits", **options)
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0

    async def hit(self, limit: Limit, identity: str, *, stats: bool = True, local: bool = False) -> Standing:
        """Count one request and return how its sender stands. Never fails: without Redis this process counts.

        Args:
            limit: which limit.
            identity: whose request.
            stats: whether anybody wants to know how many are left.
            local: count in this process, whatever Redis does.
        """
        if not local and time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._count(self._shared, limit, identity, stats=stats)
            except (RedisError, OSError, TimeoutError) as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                log.warning("rate_limits_without_redis", error=type(error).__name__, seconds=AWAY_SECONDS)
        return await self._count(self._own, limit, identity, stats=stats)

    async def _count(
        self, limiter: SlidingWindowCounterRateLimiter, limit: Limit, identity: str, *, stats: bool
    ) -> Standing:
        allowed = await limiter.hit(limit.item, limit.name, identity)
        if allowed and not stats:
            return Standing(limit, allowed, limit.amount, WINDOW_SECONDS)
        window = await limiter.get_window_stats(limit.item, limit.name, identity)
        reset = min(WINDOW_SECONDS, max(1, round(window.reset_time - time.time())))
        return Standing(limit, allowed, window.remaining if allowed else 0, reset)
