"""Looks whether each part answers: really, but at most once a second, and waiting for none.

A part that hangs is asked once and not again until it has answered: whoever asks for our health, and however often,
cannot pile work on a part that is in trouble.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from core.broker.waiting import read_waiting
from core.encryption import current_keyring
from core.errors import MannaError
from core.heartbeat import count_workers
from core.models import AuditOutbox
from core.resources import Resources

PATIENCE_SECONDS = 0.07
FRESH_SECONDS = 1.0
AUDIT_LAG_SECONDS = 60
CONTEXT = b"health"
Details = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a part said: its state in one word, and details for those who may have them."""

    state: str
    details: Details = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Whether the part does its work."""
        return self.state == "ok"


HANGING = Finding("hanging")


class Probe:
    """Asks one part."""

    def __init__(self, ask: Callable[[], Awaitable[Finding]]) -> None:
        self._ask = ask
        self._asked_at = float("-inf")
        self._task: asyncio.Task[Finding] | None = None

    async def find(self, patience: float | None = None) -> Finding:
        """Return what the part says, said within the last second, or that it hangs."""
        if self._task is None or (self._task.done() and time.monotonic() - self._asked_at > FRESH_SECONDS):
            self._asked_at = time.monotonic()
            self._task = asyncio.create_task(self._answer())
        done, _ = await asyncio.wait([self._task], timeout=PATIENCE_SECONDS if patience is None else patience)
        return self._task.result() if done else HANGING

    async def close(self) -> None:
        """Give up a question under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _answer(self) -> Finding:
        begun = time.perf_counter()
        try:
            found = await self._ask()
        except (SQLAlchemyError, RedisError, OSError, MannaError) as error:
            return Finding("failing", {"error": type(error).__name__})
        milliseconds = round((time.perf_counter() - begun) * 1000, 1)
        return Finding(found.state, {**found.details, "milliseconds": milliseconds})


class Probes:
    """The parts of the service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        asked = {
            "database": self._database,
            "redis": self._redis,
            "broker": self._broker,
            "workers": self._workers,
            "audit": self._audit,
            "encryption": self._encryption,
        }
        self._probes = {name: Probe(ask) for name, ask in asked.items()}

    async def find(self, *names: str, patience: float | None = None) -> dict[str, Finding]:
        """Return what the named parts say within `patience` seconds, all of them if none is named."""
        chosen = {name: self._probes[name] for name in names or self._probes}
        found = await asyncio.gather(*(probe.find(patience) for probe in chosen.values()))
        return dict(zip(chosen, found, strict=True))

    async def close(self) -> None:
        """Give up what is under way."""
        for probe in self._probes.values():
            await probe.close()

    async def _database(self) -> Finding:
        await self._resources.database.ping()
        return Finding("ok")

    async def _redis(self) -> Finding:
        await self._resources.redis.ping()
        return Finding("ok")

    async def _broker(self) -> Finding:
        waiting = await read_waiting(self._resources.settings, self._resources.redis)
        return Finding("ok", {"waiting": {queue.value: one.messages for queue, one in waiting.items()}})

    async def _workers(self) -> Finding:
        alive = await count_workers(self._resources.redis)
        return Finding("ok" if alive else "missing", {"alive": alive})

    async def _audit(self) -> Finding:
        oldest = select(func.extract("epoch", func.now() - func.min(AuditOutbox.occurred_at)))
        async with self._resources.database.connection() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = '2s'"))
            lag = float((await connection.execute(oldest)).scalar() or 0)
        return Finding("ok" if lag < AUDIT_LAG_SECONDS else "behind", {"lag_seconds": round(lag, 1)})

    async def _encryption(self) -> Finding:
        keyring = current_keyring()
        opened = keyring.open(keyring.seal("health", CONTEXT), CONTEXT)
        return Finding("ok" if opened == "health" else "failing")
