"""The lease: at most one worker works on an Item at a time, as long as Redis lives.

It saves work and nothing more. A holder stopped past its time to live, or a restarted Redis, gives the lease to
a second worker; the version check then lets one of the two commit.
"""

import asyncio
import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import LockNotAcquiredError, RetryLaterError

log = structlog.get_logger()

# One round trip each. `notice` is the dirty flag: who finds the lease taken leaves word, and the holder is told
# on release. Taking the lease clears it: what was asked before this moment is answered by the sync that begins.
# `queued` says that a message for this name waits; from here on the next notice needs a message of its own. When it is
# asked again, for redis-py does so if its connection broke before the answer came, whom it gave the lease to has it.
ACQUIRE = """
redis.call('del', KEYS[3])
local is_ours = redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('get', KEYS[1]) == ARGV[1]
if is_ours then redis.call('del', KEYS[2]) return 1 end
if ARGV[3] == '1' then redis.call('set', KEYS[2], '1', 'PX', ARGV[2] * 10) end
return 0
"""
# A lease that ran out while Redis was away, or was forgotten by it, is taken again unless somebody else has it.
RENEW = """
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
RELEASE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[1])
return redis.call('del', KEYS[2]) + 1
"""
RELEASED_WITH_NOTICE = 2


class Scripts(Protocol):
    """What a lock needs of Redis."""

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a Lua script."""


def item_lease(item_id: UUID) -> str:
    """Return the name of an Item's lease."""
    return f"item:{item_id}"


def keys_of(name: str) -> tuple[str, str, str]:
    """Return the keys of a name: its lease, its notice, its waiting message."""
    # The braces keep them in one slot of a Redis cluster.
    return f"lease:{{{name}}}", f"lease:{{{name}}}:notice", f"lease:{{{name}}}:queued"


async def held_names(redis: Redis, names: Sequence[str]) -> set[str]:
    """Return those of the names that somebody holds now."""
    holders = await redis.mget([keys_of(name)[0] for name in names])
    return {name for name, holder in zip(names, holders, strict=True) if holder is not None}


class DistributedLock:
    """A lease on one name, renewed at a third of its time to live while it is held.

    As a context manager it raises `LockNotAcquiredError` when somebody else holds the name; `try_acquire` tells
    instead of raising. `lost` is set as soon as somebody else has it.
    """

    def __init__(self, redis: Scripts, name: str, *, ttl_seconds: float = 60.0) -> None:
        self._redis = redis
        self._keys = keys_of(name)
        self._ttl_ms = int(ttl_seconds * 1000)
        self._holder = secrets.token_hex(16)
        self._is_held = self._is_owed = False
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None
        self.lost = False
        self.notice_left = False

    async def try_acquire(self, *, leave_notice: bool = False) -> bool:
        """Take the lease if it is free; otherwise leave word, if asked to, that its holder shall look again."""
        arguments = (self._holder, self._ttl_ms, "1" if leave_notice else "0")
        self._is_held = self._is_owed = bool(await self._redis.eval(ACQUIRE, 3, *self._keys, *arguments))
        if self._is_held:
            self._renew_later()
        return self._is_held

    async def release(self) -> None:
        """Give the lease back as `give_back` does; one that cannot be given back runs out by itself."""
        try:
            await self.give_back()
        except RedisError as error:
            log.warning("lease_release_failed", key=self._keys[0], error=type(error).__name__)

    async def give_back(self) -> None:
        """Give the lease back if it is still ours, and learn whether somebody asked meanwhile (`notice_left`).

        Raises:
            RedisError: it could not be; it is safe to be tried again.
        """
        if not self._is_owed:
            return
        self._is_held = False
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            # One under way would take it again after it was given back.
            await asyncio.wait([self._renewal])
        answer = await self._redis.eval(RELEASE, 2, *self._keys[:2], self._holder)
        self._is_owed = False
        self.notice_left = answer == RELEASED_WITH_NOTICE

    def ensure_held(self) -> None:
        """Raise before work that a second holder could be doing too.

        Raises:
            RetryLaterError: `LEASE_LOST`; the write that would follow must not start.
        """
        if self.lost:
            raise RetryLaterError("LEASE_LOST")

    def _renew_later(self) -> None:
        # A timer rather than a task: most leases are given back long before it rings.
        self._timer = asyncio.get_running_loop().call_later(self._ttl_ms / 3000, self._renew_now)

    def _renew_now(self) -> None:
        self._renewal = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        try:
            is_ours = await self._redis.eval(RENEW, 1, self._keys[0], self._holder, self._ttl_ms)
        except RedisError:
            # While Redis is away nobody else can take it either; a rival before us is told by the next answer.
            is_ours = True
        if is_ours and self._is_held:
            self._renew_later()
        self.lost = not is_ours

    async def __aenter__(self) -> Self:
        if not await self.try_acquire():
            raise LockNotAcquiredError
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
