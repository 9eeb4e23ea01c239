"""The budget that all processes share: two scripts in Redis, one round trip each, by Redis's own clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from importlib.resources import files

from redis.asyncio import Redis

from core.models import SyncTrigger
from core.settings import PlaidEnvironment, Settings

# Source: plaid.com/docs/errors/rate-limit-exceeded, /transactions/sync.
PER_ITEM = 50
PER_CLIENT = {PlaidEnvironment.PRODUCTION: 2500, PlaidEnvironment.SANDBOX: 1000}
# The braces keep all keys in one slot of a Redis cluster.
CLIENT_KEY = "budget:{plaid}:client"
ITEM_KEY = "budget:{plaid}:item:"


class Priority(IntEnum):
    """Who passes before whom: somebody waits for the first, a clock for the second, nobody for the third."""

    URGENT = 0
    SCHEDULED = 1
    BACKFILL = 2

    @classmethod
    def of(cls, trigger: SyncTrigger) -> "Priority":
        """Return the priority of what a sync was started by."""
        below = {SyncTrigger.SCHEDULED: cls.SCHEDULED, SyncTrigger.BACKFILL: cls.BACKFILL}
        return below.get(trigger, cls.URGENT)


class Scope(StrEnum):
    """Which of Plaid's limits a 429 is about. Its error body does not tell the two apart: `UNKNOWN` is the rule."""

    CLIENT = "client"
    ITEM = "item"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls a window that Plaid allows; its windows are minutes, tests have shorter ones."""

    per_item: int
    per_client: int
    window_seconds: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits that are set, or those that Plaid publishes for the environment."""
        return cls(
            settings.plaid_rate_per_item_per_minute or PER_ITEM,
            settings.plaid_rate_per_client_per_minute or PER_CLIENT[settings.plaid_env],
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What Redis granted.

    `total` of `limit` calls are spent in this window; `tokens` of them, counted in `slot`, are this process's to
    spend; `share` is what refusals have left of the limit. `items` has for each that asked its Item's tokens, 0
    when the client has none for it before `wait` seconds, or minus the seconds until the Item has.
    """

    total: int
    limit: int
    tokens: int
    slot: int
    share: float
    wait: float
    items: tuple[float, ...]


@cache
def _script(name: str) -> str:
    folder = files("core.plaid")
    return "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in ("meter.lua", name))


class SharedBudget:
    """Asks Redis for grants. `clock` replaces Redis's own, in milliseconds; it is for tests.

    Raises of every call:
        RedisError, OSError: Redis is away.
    """

    def __init__(self, redis: Redis, limits: Limits, clock: Callable[[], int] | None = None) -> None:
        self._spend = redis.register_script(_script("spend.lua"))
        self._refused = redis.register_script(_script("refused.lua"))
        self._limits = limits
        self._clock = clock

    async def spend(self, asking: Sequence[tuple[str, Priority]], unused: int, slot: int) -> Answer:
        """Ask for one call to each of `asking`, in order, and give `unused` of the tokens of `slot` back."""
        keys = [CLIENT_KEY, *(ITEM_KEY + item_key for item_key, _ in asking)]
        arguments = [*self._common(), unused, slot, *(int(priority) for _, priority in asking)]
        total, limit, tokens, slot, share, wait, *items = await self._spend(keys, arguments)
        granted = tuple(value if value > 0 else value / 1000 for value in items)
        return Answer(total, limit, tokens, slot, share / 1000, wait / 1000, granted)

    async def refused(self, item_key: str, scope: Scope, retry_after: float | None) -> tuple[Scope, float]:
        """Slow down what was refused; return which it was and the share that is left to it."""
        wait = "" if retry_after is None else int(retry_after * 1000)
        keys = [CLIENT_KEY, ITEM_KEY + item_key]
        slowed, share = await self._refused(keys, [*self._common(), scope.value, wait])
        return Scope(slowed.decode() if isinstance(slowed, bytes) else slowed), share / 1000

    def _common(self) -> list[str | int]:
        now = "" if self._clock is None else str(self._clock())
        return [now, int(self._limits.window_seconds * 1000), self._limits.per_client, self._limits.per_item]
