"""A server that is away: whoever needs it waits where it stands, together, until it answers again.

PostgreSQL and Redis restart and fail over within seconds. A task that failed for it would have to be found again, and
its Item would wait for longer than the server was away.
"""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TypeVar

import asyncpg
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import DBAPIError

from core.identity import jittered

log = structlog.get_logger()

R = TypeVar("R")

# As long as a claim lasts: whoever fails after it is due again by the time that the server is back.
PATIENCE_SECONDS = 300.0
ASK_SECONDS = 0.4
ANSWER_SECONDS = 5.0
# Those who waited go on one after the other: a server that has just started is not knocked over by all at once.
SPREAD_SECONDS = 0.3
# PostgreSQL, error codes: it ends our session, or starts or stops; class 08 is a connection that is lost.
GOING = ("57P01", "57P02", "57P03")
LOST = "08"


def is_database_away(error: BaseException) -> bool:
    """Tell whether it is PostgreSQL that is missing, and not something wrong with what it was asked."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_going(error.orig) or _no_way(error.orig)
    # The last is asyncpg's when the connection ends in the middle of a step of its own.
    is_drivers = isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError)
    return _is_going(error) or is_drivers or _no_way(error)


def is_redis_away(error: BaseException) -> bool:
    """Tell whether it is Redis that is missing; a replica that was the master until now is no Redis to write to."""
    return isinstance(error, RedisConnectionError | RedisTimeoutError | ReadOnlyError)


def _is_going(error: BaseException | None) -> bool:
    state = str(getattr(error, "sqlstate", None) or "")
    return state in GOING or state.startswith(LOST)


def _no_way(error: BaseException | None) -> bool:
    # asyncio's own for a name with several addresses is a bare OSError; one of files has a number.
    is_bare = type(error) is OSError and error.errno is None
    return is_bare or isinstance(error, ConnectionError | TimeoutError | socket.gaierror)


class Outage:
    """One server's absences, for the tasks of one event loop: one task asks, and one line tells that it is away.

    `code` is what the log calls it, `ping` returns once the server has answered.
    """

    def __init__(
        self, code: str, ping: Callable[[], Awaitable[object]], is_away: Callable[[BaseException], bool]
    ) -> None:
        self._code = code
        self._ping = ping
        self._is_away = is_away
        self._asking: asyncio.Task[None] | None = None
        self._began: float | None = None

    async def waited_out(self, step: Callable[[], Awaitable[R]]) -> R:
        """Return what the step returns; it is begun again when the server was away, so it must be safe to repeat.

        Raises the step's own error once the server has been away for five minutes, and every other error at once.
        """
        first: float | None = None
        while True:
            try:
                result = await step()
            except Exception as error:
                first = asyncio.get_running_loop().time() if first is None else first
                if not (self._is_away(error) and await self._is_over(first, error)):
                    raise
            else:
                self._began = None
                return result

    def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    async def _is_over(self, first: float, error: Exception) -> bool:
        """Wait for the server until it answers, and tell whether it did before patience ended.

        It ends for all at once: a batch whose members are tried one after the other must not wait for each anew.
        """
        loop = asyncio.get_running_loop()
        self._began = loop.time() if self._began is None else self._began
        deadline = min(first, self._began) + PATIENCE_SECONDS
        if self._asking is None or self._asking.done():
            # In a context of its own: it is for everybody, and must not log with the ids of whoever came first.
            self._asking = loop.create_task(self._ask(type(error).__name__), context=Context())
        await asyncio.wait([self._asking], timeout=max(0.0, deadline - loop.time()))
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(random.uniform(0, SPREAD_SECONDS))  # noqa: S311 - spreading load, not a secret
        return True

    async def _ask(self, error: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        log.warning("server_away", code=self._code, error=error)
        while loop.time() < began + PATIENCE_SECONDS:
            await asyncio.sleep(jittered(ASK_SECONDS, 0.5))
            if await self._answers():
                self._began = None
                log.warning("server_back", code=self._code, seconds=round(loop.time() - began, 1))
                return

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._ping()
        except Exception as error:  # noqa: BLE001 - one that is not for being away is the step's to raise
            return not (self._is_away(error) or isinstance(error, TimeoutError))
        return True
