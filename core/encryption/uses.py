"""How often a key has sealed. Random nonces of 96 bits allow 2^32 uses of a key (NIST SP 800-38D, section 8.3)."""

from itertools import count

import structlog

from core.errors import EncryptionError

log = structlog.get_logger()

WARN_AT = 2**30
REFUSE_AT = 2**31


class KeyExhaustedError(EncryptionError):
    """The primary key has sealed half as often as it ever may: it opens, and seals no more."""


class KeyUses:
    """Counts a key's seals of this process, on top of what all others reported; threads need no lock.

    The limit is half of what is allowed, so what killed processes did not report does not matter.
    """

    __slots__ = ("_calm", "_key_id", "_reported", "_ticks", "_warned", "elsewhere", "here")

    def __init__(self, key_id: str) -> None:
        self._key_id = key_id
        self._ticks = count(1)
        self._reported = 0
        self._warned = False
        self.here = 0
        self.elsewhere = 0
        # How many seals of this process nothing is said about: one comparison for each of them.
        self._calm = WARN_AT

    def count(self) -> None:
        """Count one seal.

        Raises:
            KeyExhaustedError: it would be one too many.
        """
        self.here = here = next(self._ticks)
        if here > self._calm:
            self._near_the_end()

    def unreported(self) -> int:
        """Return how many seals were added since the last report, to be added to the common count."""
        return max(self.here - self._reported, 0)

    def reported(self, added: int, total: int) -> None:
        """Note that `added` were added to the common count, which then stood at `total`."""
        self._reported += added
        self.elsewhere = max(total - self._reported, 0)
        self._calm = WARN_AT - self.elsewhere

    def _near_the_end(self) -> None:
        if self.here + self.elsewhere > REFUSE_AT:
            raise KeyExhaustedError(f"the encryption key {self._key_id} is used up: run manna keys rotate")
        if not self._warned:
            self._warned = True
            log.warning("key_nearly_used_up", key_id=self._key_id, uses=self.here + self.elsewhere, limit=REFUSE_AT)
