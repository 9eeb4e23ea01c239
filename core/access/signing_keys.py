"""The keys that sign API tokens: one signs, it and the older ones verify, each found by its `kid`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from core.errors import ConfigurationError
from core.secrets import get_secret
from core.secrets.names import SecretName

MIN_BYTES = 32
ACCEPTED = f"at least {MIN_BYTES} bytes, as `manna keys generate` prints them"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An HMAC-SHA-256 key; its `kid` is a digest of it, so that no register has to be kept."""

    kid: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, name: str, text: str) -> "SigningKey":
        """Return the key of a secret's text.

        Raises:
            ConfigurationError: the key is too short for HMAC-SHA-256 (RFC 7518, 3.2); it is not shown.
        """
        secret = text.encode()
        if len(secret) < MIN_BYTES:
            raise ConfigurationError(f"{name.upper()} is too short; accepted are {ACCEPTED}")
        return cls(hashlib.sha256(b"manna-sync/jwt/kid/v1/" + secret).hexdigest()[:16], secret)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keyring of tokens; replaced as a whole, never changed in place."""

    primary: SigningKey
    _by_kid: dict[str, SigningKey] = field(repr=False)

    @classmethod
    def of(cls, primary: SigningKey, previous: tuple[SigningKey, ...] = ()) -> "SigningKeys":
        """Make a keyring: tokens of the previous keys stay good until they expire or their key is taken out."""
        return cls(primary, {key.kid: key for key in (*previous, primary)})

    def get(self, kid: str) -> SigningKey | None:
        """Return the key of that id."""
        return self._by_kid.get(kid)


def load_signing_keys(secret: Callable[..., str | None] = get_secret, *, required: bool = True) -> SigningKeys | None:
    """Return the keys from `jwt_signing_key` and the comma-separated `jwt_signing_keys_previous`.

    Raises:
        ConfigurationError: the key is missing while `required`, or one is too short.
    """
    name = SecretName.JWT_SIGNING_KEY
    primary = secret(name, required=required)
    if primary is None:
        return None
    older_name = SecretName.JWT_SIGNING_KEYS_PREVIOUS
    older = [text.strip() for text in (secret(older_name, required=False) or "").split(",") if text.strip()]
    previous = tuple(SigningKey.from_secret(older_name, text) for text in older)
    return SigningKeys.of(SigningKey.from_secret(name, primary), previous)
