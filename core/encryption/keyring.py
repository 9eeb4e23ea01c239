"""The keys in use: one seals, all of them open. A keyring is replaced as a whole, never changed in place."""

import base64
import binascii
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from core.encryption.cipher import KEY_BYTES, FieldKey, decode, decrypt_failure
from core.errors import ConfigurationError, EncryptionError
from core.secrets import get_secret
from core.secrets.names import SecretName

ACCEPTED = "32 bytes in base64url, as `manna keys generate` prints them"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The primary key and the older, decrypt-only ones, found by key id: sixteen cost what one costs."""

    primary: FieldKey
    _by_id: dict[bytes, FieldKey] = field(repr=False)

    @classmethod
    def of(cls, primary: bytes, previous: tuple[bytes, ...] = ()) -> "Keyring":
        """Make a keyring from secrets of 32 bytes each, the primary first."""
        keys = [FieldKey.from_secret(secret) for secret in (primary, *previous)]
        return cls(keys[0], {key.key_id: key for key in reversed(keys)})

    def seal(self, plaintext: str, context: bytes) -> str:
        """Return the envelope of a text under the primary key, bound to `context`."""
        return self.primary.seal(plaintext.encode(), context)

    def open(self, sealed: str, context: bytes) -> str:
        """Return the text of an envelope.

        Raises:
            EncryptionError: `Failed to decrypt data`, whatever the reason was.
        """
        envelope = decode(sealed)
        key = self._by_id.get(envelope[2:6])
        if key is None:
            raise decrypt_failure()
        return key.open(envelope, context).decode()


class EncryptionKeyProvider:
    """Makes keys, and reads those of this process from its secrets."""

    @staticmethod
    def generate_key() -> str:
        """Return a fresh key: 32 random bytes in base64url, fit for `MANNA_ENCRYPTION_KEY`."""
        return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode("ascii")

    @staticmethod
    def load_keyring(secret: Callable[..., str | None] = get_secret) -> Keyring:
        """Return the keyring of this process.

        Raises:
            ConfigurationError: no key, or one that is not 32 bytes of base64url; the key is not shown.
        """
        primary = secret(SecretName.ENCRYPTION_KEY, required=False)
        if primary is None:
            raise ConfigurationError(f"Encryption not initialized: set MANNA_ENCRYPTION_KEY to {ACCEPTED}")
        previous = secret(SecretName.ENCRYPTION_KEYS_PREVIOUS, required=False) or ""
        older = tuple(
            _parse("MANNA_ENCRYPTION_KEYS_PREVIOUS", text.strip()) for text in previous.split(",") if text.strip()
        )
        return Keyring.of(_parse("MANNA_ENCRYPTION_KEY", primary), older)


def _parse(variable: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES or len(set(key)) == 1:
        raise ConfigurationError(f"{variable} is not a key; accepted are {ACCEPTED}")
    return key


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
