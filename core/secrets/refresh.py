"""Notices rotated secrets while the process runs: reads all, builds what hangs on them, then swaps."""

import asyncio
from collections.abc import Callable

import structlog

from core.errors import MannaError
from core.secrets.manager import SecretsManager
from core.secrets.values import SecretValues

log = structlog.get_logger()

# Builds what hangs on the secrets and returns the swap; raises a MannaError when the new values are of no use.
Adoption = Callable[[SecretValues], Callable[[], None]]


class SecretsRefresh:
    """Holds a process's secrets and keeps them fresh; all of a change is taken over, or nothing."""

    def __init__(self, manager: SecretsManager, *adoptions: Adoption) -> None:
        self._manager = manager
        self._adoptions = list(adoptions)
        self._current = manager.read()

    @property
    def current(self) -> SecretValues:
        """The values that count now."""
        return self._current

    def start(self) -> None:
        """Take the first values over.

        Raises:
            ConfigurationError: they are of no use; a process does not start with them.
        """
        for swap in self._adopt(self._current):
            swap()
        self._manager.hold(self._current)

    def follow(self, adoption: Adoption) -> None:
        """Have something that hangs on the secrets follow their changes from now on."""
        self._adoptions.append(adoption)

    def stop(self) -> None:
        """Hold the values no longer."""
        self._manager.release(self._current)

    async def refresh(self) -> tuple[str, ...]:
        """Read the secrets anew and return the names of those that changed; what is of no use changes nothing."""
        try:
            values = await asyncio.to_thread(self._manager.read)
            changed = values.changed_from(self._current)
            # In a thread as well: what unwraps a key may be on the network.
            swaps = await asyncio.to_thread(self._adopt, values) if changed else []
        except MannaError as error:
            # The old ones are good until proven otherwise: a vault that is away must not stop the service.
            log.warning("secrets_refresh_refused", reason=str(error))
            return ()
        for swap in swaps:
            swap()
        self._manager.replace(self._current, values)
        self._current = values
        if changed:
            log.info("secrets_renewed", names=list(changed))
        return changed

    async def run(self, seconds: float) -> None:
        """Refresh every so many seconds, until cancelled, whatever a provider comes up with."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - a loop that ended here would end every rotation without a word
                log.error("secrets_refresh_failed", error=type(error).__name__)  # noqa: TRY400 - the text may hold a secret

    def _adopt(self, values: SecretValues) -> list[Callable[[], None]]:
        return [adopt(values) for adopt in self._adoptions]
