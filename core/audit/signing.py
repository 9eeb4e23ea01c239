"""The Ed25519 keys of checkpoints: one signs, it and older ones verify. The private half is never in the database."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import ConfigurationError
from core.secrets import get_secret
from core.secrets.names import SecretName
from core.settings import Settings

SEED_BYTES = 32
ACCEPTED = "32 bytes in base64url, as `manna keys generate` prints them"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Verifies checkpoints. `text` is what an auditor gets, `key_id` the first 8 bytes of its SHA-256 in hex."""

    text: str
    key_id: str
    _key: Ed25519PublicKey = field(repr=False)

    @classmethod
    def of(cls, raw: bytes) -> "PublicKey":
        """Make a key from its 32 bytes."""
        return cls(_to_text(raw), hashlib.sha256(raw).hexdigest()[:16], Ed25519PublicKey.from_public_bytes(raw))

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` is this key's over `data`."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Signs checkpoints; its repr shows the public half alone."""

    public: PublicKey
    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """Make the key of a 32-byte seed (RFC 8032)."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(PublicKey.of(key.public_key().public_bytes_raw()), key)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""
        return self._key.sign(data)


def load_signing_key(settings: Settings, secret: Callable[..., str | None] = get_secret) -> SigningKey:
    """Return the key that signs this deployment's checkpoints; outside production one is derived if none is set.

    Raises:
        ConfigurationError: it is no key, or production has none.
    """
    if (text := secret(SecretName.AUDIT_SIGNING_KEY, required=False)) is not None:
        return SigningKey.from_seed(_to_bytes("AUDIT_SIGNING_KEY", text))
    if settings.is_production:
        raise ConfigurationError(f"the secret audit_signing_key is missing; set AUDIT_SIGNING_KEY to {ACCEPTED}")
    known = secret(SecretName.ENCRYPTION_KEY, required=False) or "manna-sync development"
    derived = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=b"manna-sync/audit-signing/v1")
    return SigningKey.from_seed(derived.derive(known.encode()))


def load_public_keys(settings: Settings, secret: Callable[..., str | None] = get_secret) -> dict[str, PublicKey]:
    """Return the keys whose checkpoints count, by key id: this deployment's own, and `AUDIT_PUBLIC_KEYS`.

    Raises:
        ConfigurationError: one of them is no key, or there is none at all.
    """
    keys = [PublicKey.of(_to_bytes("AUDIT_PUBLIC_KEYS", text)) for text in settings.audit_public_keys]
    # Whoever only verifies needs no private key, if the public ones are named.
    if not keys or secret(SecretName.AUDIT_SIGNING_KEY, required=False) is not None:
        keys.append(load_signing_key(settings, secret).public)
    return {key.key_id: key for key in keys}


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii")


def _to_bytes(variable: str, text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != SEED_BYTES or len(set(raw)) == 1:
        raise ConfigurationError(f"{variable} is not a key; accepted are {ACCEPTED}")
    return raw
