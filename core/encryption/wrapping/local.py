"""A key-encryption key in a file of its own, on another volume than the secrets that it protects."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.encryption.cipher import KEY_BYTES, NONCE_BYTES, decrypt, from_base64url, to_base64url
from core.errors import ConfigurationError, EncryptionError

ASSOCIATED = b"manna-sync/wrapped-key/v1"
VARIABLE = "MANNA_KEK_FILE"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """Wraps by AES-256-GCM under the 32 bytes of base64url in the file that `MANNA_KEK_FILE` names."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def wrap(self, key: bytes, under: str) -> str:
        """Return the wrapped key; `under` may name another file than the variable does."""
        nonce = os.urandom(NONCE_BYTES)
        return to_base64url(nonce + self._aead(under).encrypt(nonce, key, ASSOCIATED))

    def unwrap(self, wrapped: str) -> bytes:
        """Return the key.

        Raises:
            ConfigurationError: the file is missing, readable by others, no key, or the wrong one.
        """
        aead = self._aead("")
        try:
            box = from_base64url(wrapped)
            return decrypt(aead, box[:NONCE_BYTES], box[NONCE_BYTES:], ASSOCIATED)
        except EncryptionError:
            raise ConfigurationError(f"the key in {VARIABLE} does not unwrap the encryption key") from None

    def _aead(self, under: str) -> AESGCM:
        path = Path(under or self.environ.get(VARIABLE) or "")
        if not path.name:
            raise ConfigurationError(f"a key is wrapped by a local file: name it in {VARIABLE}")
        try:
            readable_by_others = path.stat().st_mode & 0o077
            secret = from_base64url(path.read_text("ascii").strip().rstrip("="))
        except (OSError, UnicodeDecodeError, EncryptionError) as error:
            raise ConfigurationError(f"{VARIABLE} names {path}, which holds no key: {type(error).__name__}") from None
        if readable_by_others:
            raise ConfigurationError(f"{VARIABLE} names {path}, which others may read; accepted is mode 0600")
        if len(secret) != KEY_BYTES:
            raise ConfigurationError(f"{VARIABLE} names {path}, which holds no key of 32 bytes in base64url")
        return AESGCM(secret)
