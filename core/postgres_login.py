"""Logs in to PostgreSQL with the password of today: a rotated one is looked up again when the old is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

log = structlog.get_logger()

REFUSALS = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
PAUSE_SECONDS = 0.2


class Login:
    """Opens connections. Keeps the password that worked last, and asks the secrets only after a refusal.

    `ALTER ROLE … PASSWORD` and the new secret never arrive at the same moment. Whichever comes first, a login that
    worked before waits up to `patience_seconds` for the other; one that never worked fails at once.
    """

    def __init__(self, password: str | None, look_up: Callable[[], str | None] | None, patience_seconds: float) -> None:
        self._password = password
        self._look_up = look_up
        self._patience = patience_seconds
        self._worked = False

    async def connect(self, **arguments: Any) -> Any:
        """Return a connection of asyncpg's; SQLAlchemy calls this in place of `asyncpg.connect`.

        Raises:
            asyncpg.InvalidPasswordError: no password that is known or can be looked up is accepted.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._patience if self._worked else 0)
        while True:
            password = self._password
            try:
                connection = await asyncpg.connect(**{**arguments, "password": password})
            except REFUSALS:
                if await self._changed(password):
                    continue
                if self._look_up is None or loop.time() >= deadline:
                    raise
            else:
                self._worked = True
                return connection
            await asyncio.sleep(PAUSE_SECONDS)

    async def _changed(self, refused: str | None) -> bool:
        # In a thread: a vault is asked over the network, and the loop has other work.
        found = await asyncio.to_thread(self._look_up) if self._look_up else None
        if found is None or found == refused:
            return False
        self._password = found
        log.info("database_password_renewed")
        return True
