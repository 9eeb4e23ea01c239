"""One event loop a process, in a thread of its own, with the process's resources open in it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from core.audit.configuration import record_settings
from core.errors import MannaError
from core.heartbeat import keep_beating
from core.resources import Resources, open_resources, running
from core.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

CLOSE_SECONDS = 30


class Process:
    """Runs coroutines for threads that wait. Opened after a fork, closed once the pool has drained."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True)
        self._thread.start()
        self._context: AbstractAsyncContextManager[Resources] = _alive(settings)
        try:
            self._resources: Resources = self._wait(self._context.__aenter__())
        except BaseException:
            self._stop()
            raise

    def run(self, use_case: Callable[[Resources], Coroutine[Any, Any, Any]], time_limit: float) -> Any:
        """Run a use case in the loop and return its result.

        Raises:
            TimeoutError: it took longer than `time_limit` seconds; it was cancelled and has cleaned up.
        """

        async def limited() -> Any:
            async with asyncio.timeout(time_limit):
                return await use_case(self._resources)

        return self._wait(limited())

    def close(self) -> None:
        """Close the resources in the loop that opened them, then the loop."""
        try:
            self._wait(self._context.__aexit__(None, None, None), CLOSE_SECONDS)
        finally:
            self._stop()

    def _wait(self, coroutine: Coroutine[Any, Any, Any], seconds: float | None = None) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._loop.close()


@asynccontextmanager
async def _alive(settings: Settings) -> AsyncIterator[Resources]:
    """Open the resources, put the settings on record and give a sign of life until the end."""
    async with open_resources(settings) as resources:
        await record_settings(settings, resources.database)
        async with running(keep_beating(resources.redis)):
            yield resources


_opened: list[Process] = []


def open_process(settings: Settings) -> None:
    """Open this process's loop and resources."""
    _opened[:] = [Process(settings)]


def current_process() -> Process:
    """Return the loop that was opened.

    Raises:
        MannaError: none was; tasks run in a worker only.
    """
    if not _opened:
        raise MannaError("no event loop is open in this process: tasks run in a Celery worker only")
    return _opened[0]


def close_process() -> None:
    """Close what was opened, once."""
    if _opened:
        _opened.pop().close()


def preflight(settings: Settings) -> None:
    """Open everything once and close it again, so that what is wrong is told before a server starts."""

    async def look() -> None:
        async with open_resources(settings):
            pass

    asyncio.run(look())
