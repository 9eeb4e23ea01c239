"""The outbound budget: every page of a sync is paid for here before Plaid is asked, by all workers from one purse.

Other endpoints have limits of their own at Plaid, which a service does not come near.

Exact over processes and safe for fixed and for sliding windows; what it promises and what it costs is in
docs/explanation/outbound-budget.md, why it is so in docs/adr/0014-outbound-budget.md.
"""

import asyncio
from bisect import insort
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import RetryLaterError
from core.identity import jittered
from core.plaid.local_budget import AloneBudget, LocalShare
from core.plaid.shared_budget import Answer, Limits, Priority, Scope, SharedBudget

__all__ = ["Budget", "BudgetFigures", "Limits", "Priority", "Scope"]

log = structlog.get_logger()

PATIENCE_SECONDS = 20.0
REDIS_SECONDS = 1.0
AWAY_SECONDS = 5.0
AT_ONCE = 32
# While the client has nothing left a process asks again after 0.1 to 1 s (of a window of a minute).
POLL_SHARES = (1 / 600, 1 / 60)


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """A moment of the budget, as this process last saw it.

    Attributes:
        limit: the client's calls a window that are in force now.
        remaining_share: the part of them that is not spent, 0 to 1.
        adapted_share: what refusals have left of the configured limit, 0.1 to 1.
        waiting: calls that wait now.
        spent: calls that were let through since start.
        waits: those of them that had to wait for a token.
        postponed: calls that were turned away with `OUTBOUND_BUDGET` since start.
        refused: answers 429 since start.
        alone: whether Redis is away.
    """

    limit: int
    remaining_share: float
    adapted_share: float
    waiting: int
    spent: int
    waits: int
    postponed: int
    refused: int
    alone: bool


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that waits for its turn; its Item may forbid it before `not_before`."""

    item_key: str
    priority: Priority
    turn: asyncio.Future[None]
    deadline: float
    not_before: float = 0.0
    waited: bool = False


class Budget:
    """One a process, over the process's Redis client.

    Calls wait in the order of their priority, then of their arrival, and one question to Redis asks for all that
    wait. A page of an Item queues behind the other Items' pages, so no Item holds up the rest.
    """

    def __init__(
        self,
        redis: Redis,
        limits: Limits,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._shared = SharedBudget(redis, limits, clock)
        self._share = LocalShare(limits)
        self._alone = AloneBudget(limits)
        self._limits = limits
        self._patience = patience_seconds
        self._waiting: list[Waiter] = []
        self._opens = dict.fromkeys(Priority, 0.0)
        self._wake = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._away_until = 0.0
        self._is_alone = False
        self._last = Answer(0, limits.per_client, 0, 0, 1.0, 0.0, ())
        self._spent = self._waits = self._postponed = self._refused = 0

    async def spend(self, item_key: str, priority: Priority) -> None:
        """Return when one call for this Item may be made, at once in times of plenty.

        Raises:
            RetryLaterError: `OUTBOUND_BUDGET`, with `retry_after`: it would take longer than 20 s, and the worker's
                slot is better used by another Item.
        """
        loop = asyncio.get_running_loop()
        if self._share.take(item_key, loop.time()):
            self._spent += 1
            return
        waiter = Waiter(item_key, priority, loop.create_future(), loop.time() + self._patience)
        insort(self._waiting, waiter, key=lambda other: other.priority)
        self._wake.set()
        if self._server is None or self._server.done():
            self._server = loop.create_task(self._serve(), context=Context())
        try:
            await waiter.turn
        finally:
            self._leave(waiter)

    async def refused(self, item_key: str, scope: Scope = Scope.UNKNOWN, retry_after: float | None = None) -> None:
        """Take note of a 429: slow down, and wait as long as Plaid asked for, or a little when it did not.

        Plaid's error does not tell its two limits apart, so `Scope.UNKNOWN` takes the one that is spent further.
        Never raises.
        """
        self._refused += 1
        self._share.drop()
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                slowed, share = await self._shared.refused(item_key, scope, retry_after)
        except (RedisError, OSError) as error:
            self._redis_is_away(error)
        else:
            log.warning("plaid_budget_refused", scope=slowed.value, share=share, retry_after=retry_after)

    def figures(self) -> BudgetFigures:
        """Return a moment of the budget, for the metrics; asks nobody."""
        last = self._last
        remaining = max(0.0, 1 - last.total / last.limit)
        counts = (len(self._waiting), self._spent, self._waits, self._postponed, self._refused)
        return BudgetFigures(last.limit, remaining, last.share, *counts, self._is_alone)

    async def close(self) -> None:
        """Stop serving; who still waits is turned away."""
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait([self._server])
        for waiter in list(self._waiting):
            self._postpone(waiter, self._patience)

    async def _serve(self) -> None:
        try:
            while self._waiting:
                self._wake.clear()
                if asyncio.get_running_loop().time() < self._away_until:
                    self._serve_alone()
                else:
                    await self._ask()
                await self._until_next()
        except Exception as error:
            # Nobody may be left waiting for a task that has ended.
            for waiter in list(self._waiting):
                self._leave(waiter)
                if not waiter.turn.done():
                    waiter.turn.set_exception(error)
            raise

    async def _ask(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        ready = [waiter for waiter in self._waiting if self._ready_at(waiter) <= asked_at][:AT_ONCE]
        if not ready:
            return
        asking = [(waiter.item_key, waiter.priority) for waiter in ready]
        unused, slot = self._share.hand_back(), self._share.slot
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answer = await self._shared.spend(asking, unused, slot)
        except (RedisError, OSError) as error:
            self._redis_is_away(error)
            self._serve_alone()
            return
        self._redis_is_back()
        self._last = answer
        self._share.receive(answer, asked_at)
        self._hand_out(ready, answer, asked_at)

    def _hand_out(self, ready: list[Waiter], answer: Answer, asked_at: float) -> None:
        least, most = (self._limits.window_seconds * share for share in POLL_SHARES)
        # One moment for all that the client has nothing for, and another one in every process.
        opens = asked_at + jittered(min(max(answer.wait, least), most), 0.5)
        for waiter, told in zip(ready, answer.items, strict=True):
            if told > 0:
                self._share.receive_item(waiter.item_key, int(told) - 1, asked_at)
                self._let_through(waiter)
                continue
            wait = answer.wait if told == 0 else -told
            waiter.waited = True
            if asked_at + wait > waiter.deadline:
                self._postpone(waiter, wait)
            elif told == 0:
                self._opens[waiter.priority] = opens
            else:
                waiter.not_before = asked_at + jittered(wait * 1.1)

    def _serve_alone(self) -> None:
        now = asyncio.get_running_loop().time()
        for waiter in list(self._waiting):
            # Without Redis the pace is our own choice: nobody is turned away for it.
            waiter.deadline = now + self._patience
            wait = self._alone.wait(waiter.item_key, now)
            if wait == 0:
                self._let_through(waiter)
            else:
                waiter.waited = True
                waiter.not_before = now + wait

    async def _until_next(self) -> None:
        now = asyncio.get_running_loop().time()
        for waiter in [waiter for waiter in self._waiting if waiter.deadline < now]:
            self._postpone(waiter, self._patience)
        if not self._waiting:
            return
        first = min(self._ready_at(waiter) for waiter in self._waiting)
        last = min(waiter.deadline for waiter in self._waiting)
        try:
            async with asyncio.timeout_at(min(first, last)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _ready_at(self, waiter: Waiter) -> float:
        opens = 0.0 if self._is_alone else self._opens[waiter.priority]
        return max(waiter.not_before, opens)

    def _let_through(self, waiter: Waiter) -> None:
        self._leave(waiter)
        if not waiter.turn.done():
            self._spent += 1
            self._waits += waiter.waited
            waiter.turn.set_result(None)

    def _postpone(self, waiter: Waiter, wait: float) -> None:
        self._leave(waiter)
        if not waiter.turn.done():
            self._postponed += 1
            # Later rather than sooner, and not all at one moment.
            waiter.turn.set_exception(RetryLaterError("OUTBOUND_BUDGET", retry_after=jittered(wait * 1.15, 0.13)))

    def _leave(self, waiter: Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def _redis_is_away(self, error: Exception) -> None:
        self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
        self._share.drop()
        if not self._is_alone:
            self._is_alone = True
            log.warning("plaid_budget_alone", error=type(error).__name__)

    def _redis_is_back(self) -> None:
        if self._is_alone:
            self._is_alone = False
            log.info("plaid_budget_shared_again")
            for waiter in self._waiting:
                waiter.not_before = 0.0
