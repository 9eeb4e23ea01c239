"""A rotation as operators ask for it: promote the key that waits, re-encrypt, wait for the last process, prove."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.audit.outbox import SYSTEM
from core.database import Database
from core.encryption.keyring import KeyStatus, current_keyring
from core.rotation.membership import LIVE_REFRESHES
from core.rotation.promotion import KeyState, key_states, laggards
from core.rotation.reencrypt import Reencryption, reencrypt
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rotation would do: `candidate` is the key to promote, None when the active one stays."""

    active: str
    candidate: str | None
    rows: int
    unknown_to: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.candidate is None and not self.rows


async def plan_rotation(database: Database, settings: Settings, chosen: str | None = None) -> Plan:
    """Return what `manna keys rotate` would do now; `chosen` names the key to promote.

    Left out, it is `MANNA_ENCRYPTION_KEY` of this process if that still waits.
    """
    states = {state.key_id: state for state in await key_states(database, settings)}
    active = next(state.key_id for state in states.values() if state.status is KeyStatus.ACTIVE)
    candidate = chosen if chosen != active else None
    wanted = states.get(current_keyring().wanted)
    if chosen is None and wanted is not None and wanted.status is KeyStatus.PENDING:
        candidate = wanted.key_id
    rows = sum(state.rows for state in states.values() if state.key_id != (candidate or active))
    return Plan(active, candidate, rows, _unknown_to(states.get(candidate or active)))


async def reencrypt_everywhere(  # noqa: PLR0913 - all but two named
    database: Database,
    settings: Settings,
    *,
    seconds: float | None = None,
    rows_per_second: int | None = None,
    actor: str = SYSTEM,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Reencryption:
    """Re-encrypt, wait until every live process seals with the active key, and re-encrypt what they sealed before.

    See `reencrypt` for the arguments; the throttle is `REENCRYPT_ROWS_PER_SECOND` if left out.
    """
    rate = settings.reencrypt_rows_per_second if rows_per_second is None else rows_per_second
    first = await reencrypt(database, rows_per_second=rate, seconds=seconds, actor=actor, on_progress=on_progress)
    if not first.complete or not await _all_follow(database, settings, first.key_id):
        return first
    last = await reencrypt(database, rows_per_second=rate, seconds=seconds, actor=actor, on_progress=on_progress)
    last.rewritten += first.rewritten
    return last


async def _all_follow(database: Database, settings: Settings, key_id: str) -> bool:
    """Return once every live process seals with the key; tell whether it had to wait for one."""
    waited = False
    # A process that does not follow reports no more either, and stops counting as a live one.
    until = time.monotonic() + settings.keyring_refresh_seconds * (LIVE_REFRESHES + 1)
    while await laggards(database, settings, key_id) and time.monotonic() < until:
        waited = True
        await asyncio.sleep(settings.keyring_refresh_seconds / 4)
    return waited


def _unknown_to(state: KeyState | None) -> int:
    return state.processes - state.known_by if state else 0
