"""Plaid's webhook keys by `kid`, cached so that a slow key endpoint loses nothing and a forger floods nobody.

A `kid` is the sender's choice. So each is asked for once at a time, an unknown one is remembered as unknown, and
questions about kids never seen are rationed for the whole process: whatever exceeds the ration is told to come again.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import structlog

from core.errors import RetryLaterError, SyncError
from core.plaid.schemas import VerificationKey, VerificationKeyAnswer

log = structlog.get_logger()

FRESH_SECONDS = 3600
STALE_SECONDS = 24 * 3600
UNKNOWN_SECONDS = 300
# Plaid gives up on an answer after 10 s; the question goes on behind our 503 and its answer waits for the retry.
ASK_SECONDS = 5.0
MAX_KNOWN = 64
MAX_UNKNOWN = 4096
UNKNOWN_BURST = 20
UNKNOWN_PER_SECOND = 0.5
T = TypeVar("T")
NOT_A_KEY = "INVALID_WEBHOOK_VERIFICATION_KEY_ID"


@dataclass(slots=True)
class Ration:
    """A token bucket in this process: how many unknown kids Plaid may still be asked about."""

    now: Callable[[], float]
    tokens: float = UNKNOWN_BURST
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.now()

    def take(self) -> bool:
        """Take one token, if there is one."""
        moment = self.now()
        self.tokens = min(UNKNOWN_BURST, self.tokens + (moment - self.at) * UNKNOWN_PER_SECOND)
        self.at = moment
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class WebhookKeys:
    """The cache of one process."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes]], now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._known: OrderedDict[str, tuple[float, VerificationKey]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[VerificationKey | None]] = {}
        self._ration = Ration(now)

    async def get(self, kid: str) -> VerificationKey | None:
        """Return the key, or None when Plaid does not know it.

        Raises:
            SyncError: Plaid could not be asked, or not yet, so nothing is known about the key.
        """
        age = self._age(kid)
        if age is not None and age < FRESH_SECONDS:
            return self._known[kid][1]
        if age is None and self._now() < self._unknown.get(kid, 0):
            return None
        if age is None and kid not in self._asking and not self._ration.take():
            raise RetryLaterError("UNKNOWN_WEBHOOK_KEYS_RATIONED")
        try:
            return await self._ask_once(kid)
        except SyncError as error:
            if age is None or age > STALE_SECONDS:
                raise
            log.warning("webhook_key_stale", age_seconds=int(age), error_code=error.error_code)
            return self._known[kid][1]

    async def refresh(self) -> None:
        """Ask again about every known key that is half its freshness old, so that no webhook waits for that."""
        for kid in list(self._known):
            if (self._age(kid) or 0) > FRESH_SECONDS / 2:
                try:
                    await self._ask_once(kid)
                except SyncError as error:
                    log.warning("webhook_key_refresh_failed", error_code=error.error_code)

    async def close(self) -> None:
        """Give up the questions under way."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _age(self, kid: str) -> float | None:
        entry = self._known.get(kid)
        return None if entry is None else self._now() - entry[0]

    async def _ask_once(self, kid: str) -> VerificationKey | None:
        task = self._asking.get(kid)
        if task is None:
            task = self._asking[kid] = asyncio.create_task(self._ask(kid))
            task.add_done_callback(lambda done: self._asked(kid, done))
        try:
            # Shielded: the sender who waits may go, the answer is for all who come after.
            return await asyncio.wait_for(asyncio.shield(task), ASK_SECONDS)
        except TimeoutError:
            raise RetryLaterError("WEBHOOK_KEY_TIMEOUT") from None

    def _asked(self, kid: str, task: asyncio.Task[VerificationKey | None]) -> None:
        self._asking.pop(kid, None)
        if not task.cancelled():
            # Looked at here, for whoever waited may have gone.
            task.exception()

    async def _ask(self, kid: str) -> VerificationKey | None:
        try:
            key = msgspec.json.decode(await self._fetch(kid), type=VerificationKeyAnswer).key
        except msgspec.MsgspecError:
            raise RetryLaterError("MALFORMED_ANSWER") from None
        except SyncError as error:
            if error.error_code != NOT_A_KEY:
                raise
            self._known.pop(kid, None)
            _remember(self._unknown, MAX_UNKNOWN, kid, self._now() + UNKNOWN_SECONDS)
            return None
        _remember(self._known, MAX_KNOWN, kid, (self._now(), key))
        return key


def _remember(cache: OrderedDict[str, T], limit: int, kid: str, value: T) -> None:
    cache[kid] = value
    cache.move_to_end(kid)
    while len(cache) > limit:
        cache.popitem(last=False)
