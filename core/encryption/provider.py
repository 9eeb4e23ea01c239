"""Where a process's keys come from: its secrets, plain or wrapped, and in development the application's secret."""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable

import structlog

from core.encryption.cipher import KEY_BYTES, derive
from core.encryption.keyring import Keyring, installed_keyring
from core.encryption.wrapping import is_wrapped, unwrap_key
from core.errors import ConfigurationError
from core.secrets import get_secret
from core.secrets.names import SecretName
from core.settings import Environment, Settings, load_settings

log = structlog.get_logger()

ACCEPTED = "32 bytes in base64url, as `manna keys generate` prints them"
PRIMARY, PREVIOUS = "MANNA_ENCRYPTION_KEY", "MANNA_ENCRYPTION_KEYS_PREVIOUS"


class EncryptionKeyProvider:
    """Makes keys, and reads those of this process from its secrets."""

    @staticmethod
    def generate_key() -> str:
        """Return a fresh key: 32 random bytes in base64url, fit for `MANNA_ENCRYPTION_KEY`."""
        return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode("ascii")

    @staticmethod
    def load_keyring(settings: Settings | None = None, secret: Callable[..., str | None] = get_secret) -> Keyring:
        """Return the keyring of this process; keys that it had already keep their use counts.

        Raises:
            ConfigurationError: no key, or one that is not 32 bytes of base64url (the key is not shown); or
                encryption switched off in production.
        """
        settings = settings or load_settings()
        if not settings.field_encryption_enabled:
            _refuse_or_warn(settings)
        primary = _primary(settings, secret)
        previous = secret(SecretName.ENCRYPTION_KEYS_PREVIOUS, required=False) or ""
        older = tuple(parse_key(PREVIOUS, text.strip()) for text in previous.split(",") if text.strip())
        return Keyring.of(primary, older, known=installed_keyring(), enabled=settings.field_encryption_enabled)


def fingerprint(secret: Callable[..., str | None] = get_secret) -> bytes:
    """Return a digest of the secrets that the keyring is made of: whether it has to be made, and unwrapped, anew."""
    names = (SecretName.ENCRYPTION_KEY, SecretName.ENCRYPTION_KEYS_PREVIOUS, SecretName.JWT_SIGNING_KEY)
    texts = [secret(name, required=False) or "" for name in names]
    return hashlib.sha256("\0".join(texts).encode()).digest()


def parse_key(variable: str, text: str) -> bytes:
    """Return the 32 bytes of a key as it stands in a secret, unwrapped if it is wrapped.

    Raises:
        ConfigurationError: it is not a key; the text is not shown.
    """
    if is_wrapped(text):
        key = unwrap_key(text)
    else:
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if len(key) != KEY_BYTES or len(set(key)) == 1:
        raise ConfigurationError(f"{variable} is not a key; accepted are {ACCEPTED}")
    return key


def _primary(settings: Settings, secret: Callable[..., str | None]) -> bytes:
    text = secret(SecretName.ENCRYPTION_KEY, required=False)
    if text is not None:
        return parse_key(PRIMARY, text)
    if not settings.field_encryption_enabled:
        # Nothing is sealed under it: what is written stands unsealed.
        return os.urandom(KEY_BYTES)
    application_secret = secret(SecretName.JWT_SIGNING_KEY, required=False)
    if settings.environment is not Environment.DEVELOPMENT or application_secret is None:
        raise ConfigurationError(f"Encryption not initialized: set {PRIMARY} to {ACCEPTED}")
    if installed_keyring() is None:
        log.warning("encryption_key_derived", source="JWT_SIGNING_KEY", accepted=f"in development only: set {PRIMARY}")
    return derive(application_secret.encode(), b"manna-sync/development-field-key/v1", KEY_BYTES)


def _refuse_or_warn(settings: Settings) -> None:
    if settings.is_production:
        raise ConfigurationError("FIELD_ENCRYPTION_ENABLED is off in production; accepted is true, whatever the risk")
    if installed_keyring() is None:
        log.error("field_encryption_disabled", consequence="access tokens are stored as plain text")
