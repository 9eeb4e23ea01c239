"""Which of several beats ticks: a lease in Redis, and the times of the last ticks, which outlive their beat."""

import os
import secrets
import socket
from enum import Enum

from redis import Redis

from core.heartbeat import BEAT_LEADER_KEY as LEADER_KEY

TICKS_KEY = "{beat}:ticks"
# How long a dead leader is missed; the living renew at every look, once a second.
LEASE_SECONDS = 5.0
HOLD = """
local leader = redis.call('get', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return leader and 2 or 1
"""
# Whether it still leads is asked in the same breath as the tick is written down: one that was stopped past its lease
# and goes on has lost the tick to the other.
CLAIM = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('hset', KEYS[2], ARGV[2], ARGV[3])
return 1
"""
RESIGN = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Standing(Enum):
    """How a beat stands: it looks on, has just begun to lead, or goes on leading."""

    LOOKS_ON = 0
    BEGINS = 1
    LEADS = 2


class Leadership:
    """One beat's part in it. Every method raises `RedisError` while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # Readable, for whoever asks Redis who leads; the rest tells a beat from the one before it.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def hold(self) -> Standing:
        """Take the lease if it is free, renew it if it is ours, and tell how we stand."""
        return Standing(self._redis.eval(HOLD, 1, LEADER_KEY, self.name, str(int(LEASE_SECONDS * 1000))))

    def claim(self, entry: str, at: float) -> bool:
        """Write down that an entry ticks at `at`, in Unix seconds, and tell whether that is still ours to do."""
        return bool(self._redis.eval(CLAIM, 2, LEADER_KEY, TICKS_KEY, self.name, entry, repr(at)))

    def ticks(self) -> dict[str, float]:
        """Return when each entry last ticked, whoever led then, in Unix seconds."""
        found: dict[bytes, bytes] = self._redis.hgetall(TICKS_KEY)  # type: ignore[assignment]  # redis-py types both kinds
        return {entry.decode(): float(at) for entry, at in found.items()}

    def resign(self) -> None:
        """Let another begin at once."""
        self._redis.eval(RESIGN, 1, LEADER_KEY, self.name)
        self._redis.close()
