"""The keys in use: one seals, all but destroyed ones open. A keyring is replaced as a whole, never changed in place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from core.encryption.cipher import STEM_CHARACTERS, FieldKey, decrypt_failure, is_sealed, stem_of
from core.errors import ConfigurationError, EncryptionError

# What is written while `FIELD_ENCRYPTION_ENABLED=false`: visible as what it is, and refused once it is on again.
UNSEALED_PREFIX = "unsealed:v1:"


class KeyStatus(StrEnum):
    """How a key stands; it moves along this list and never back."""

    PENDING = "pending"
    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys, and which of them seals; found by an envelope's first letters, so sixteen cost what one costs.

    Attributes:
        primary: the key that seals.
        wanted: the id of `MANNA_ENCRYPTION_KEY`, which seals too once it was promoted.
        enabled: False while `FIELD_ENCRYPTION_ENABLED` is off, which production refuses.
    """

    primary: FieldKey
    wanted: str
    enabled: bool = True
    _keys: Mapping[str, FieldKey] = field(default_factory=dict, repr=False)
    _by_stem: Mapping[str, FieldKey] = field(default_factory=dict, repr=False)
    _statuses: Mapping[str, KeyStatus] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        primary: bytes,
        previous: tuple[bytes, ...] = (),
        *,
        known: "Keyring | None" = None,
        enabled: bool = True,
    ) -> "Keyring":
        """Make a keyring from secrets of 32 bytes each, the primary first.

        What this process knew of these keys before, their counts and what was agreed about them, it takes over from
        `known`: new secrets alone promote nothing.

        Raises:
            ConfigurationError: two different keys happen to have the same id.
        """
        keys: dict[str, FieldKey] = {}
        for key in map(FieldKey.from_secret, (primary, *previous)):
            kept = known._keys.get(key.key_id, key) if known else key
            if keys.setdefault(key.key_id, kept).stem != key.stem:
                raise ConfigurationError(f"two encryption keys have the id {key.key_id}: generate another")
        first = next(iter(keys))
        keyring = cls(keys[first], first, enabled, keys, {key.stem: key for key in keys.values()})
        return keyring.under(known._statuses) if known and known.primary.key_id in keys else keyring

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys that this process has."""
        return tuple(self._keys)

    @property
    def keys(self) -> tuple[FieldKey, ...]:
        """The keys that this process has."""
        return tuple(self._keys.values())

    def under(self, statuses: Mapping[str, KeyStatus]) -> "Keyring":
        """Return the keyring as the statuses have it: the active key seals, destroyed ones open nothing.

        Raises:
            KeyError: the active key is none of these.
        """
        active = next((key_id for key_id, status in statuses.items() if status is KeyStatus.ACTIVE), self.wanted)
        openable = [key for key in self.keys if statuses.get(key.key_id) is not KeyStatus.DESTROYED]
        by_stem = {key.stem: key for key in openable}
        return replace(self, primary=self._keys[active], _by_stem=by_stem, _statuses=statuses)

    def seal(self, plaintext: str, context: bytes) -> str:
        """Return the envelope of a text under the primary key, bound to `context`.

        Raises:
            EncryptionError: the text has no UTF-8 form, or the key is used up.
        """
        if not self.enabled:
            return UNSEALED_PREFIX + plaintext
        try:
            return self.primary.seal(plaintext.encode(), context)
        except UnicodeEncodeError:
            # That error holds the text.
            raise EncryptionError("the text for an encrypted column has no UTF-8 form") from None

    def open(self, sealed: str, context: bytes) -> str:
        """Return the text of an envelope.

        Raises:
            EncryptionError: `Failed to decrypt data`, whatever the reason was.
        """
        # The stem names the key and commits to it, so finding it is the comparison.
        key = self._by_stem.get(sealed[:STEM_CHARACTERS])
        if key is None:
            return self._unsealed(sealed)
        return key.open_rest(sealed[STEM_CHARACTERS:], context).decode()

    def seal_bytes(self, plaintext: bytes, context: bytes) -> bytes:
        """Return the envelope of bytes, as bytes, under the primary key, bound to `context`.

        Raises:
            KeyExhaustedError: the key is used up.
        """
        return self.primary.seal_bytes(plaintext, context) if self.enabled else UNSEALED_PREFIX.encode() + plaintext

    def open_bytes(self, sealed: bytes, context: bytes) -> bytes:
        """Return the bytes of an envelope of bytes.

        Raises:
            EncryptionError: `Failed to decrypt data`, whatever the reason was.
        """
        key = self._by_stem.get(stem_of(sealed))
        if key is not None:
            return key.open_bytes(sealed, context)
        if self.enabled or not sealed.startswith(UNSEALED_PREFIX.encode()):
            raise decrypt_failure()
        return sealed.removeprefix(UNSEALED_PREFIX.encode())

    def accepts(self, stored: str) -> bool:
        """Tell whether a value may be written to an encrypted column as it stands."""
        return is_sealed(stored) or (not self.enabled and stored.startswith(UNSEALED_PREFIX))

    def _unsealed(self, stored: str) -> str:
        if self.enabled or not stored.startswith(UNSEALED_PREFIX):
            raise decrypt_failure()
        return stored.removeprefix(UNSEALED_PREFIX)


_installed: list[Keyring] = []


def install_keyring(keyring: Keyring) -> None:
    """Make `keyring` the one that this process seals and opens with; the old one is let go."""
    _installed[:] = [keyring]


def current_keyring() -> Keyring:
    """Return the installed keyring.

    Raises:
        EncryptionError: none was installed; a process does so before it opens its database.
    """
    if not _installed:
        raise EncryptionError("Encryption not initialized")
    return _installed[0]


def installed_keyring() -> Keyring | None:
    """Return the installed keyring, or None before there is one."""
    return _installed[0] if _installed else None
