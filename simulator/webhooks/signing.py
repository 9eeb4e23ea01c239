import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

_COORDINATE_BYTES = 32


@dataclass(slots=True)
class SigningKey:
    """A P-256 key of the simulator's: signs webhooks, and shows its public half as a JWK."""

    key_id: str = field(default_factory=lambda: str(uuid4()))
    created_at: int = field(default_factory=lambda: int(time.time()))
    expired_at: int | None = None
    _private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    def sign(self, body: bytes, age_seconds: int = 0, key_id: str | None = None) -> str:
        """Return the token that Plaid sends in `Plaid-Verification` with these very bytes.

        `age_seconds` dates it back, `key_id` names another key than the one that really signs.
        """
        headers = {"kid": key_id or self.key_id}
        return jwt.encode(claims_of(body, age_seconds), self._private, algorithm="ES256", headers=headers)

    def expire(self) -> None:
        """Let the key be good no more, as its document says from now on."""
        self.expired_at = int(time.time())

    def document(self) -> dict[str, Any]:
        """Return the key as /webhook_verification_key/get does."""
        numbers = self._private.public_key().public_numbers()
        return {
            "alg": "ES256",
            "created_at": self.created_at,
            "crv": "P-256",
            "expired_at": self.expired_at,
            "kid": self.key_id,
            "kty": "EC",
            "use": "sig",
            "x": _base64url(numbers.x),
            "y": _base64url(numbers.y),
        }


class Keyring:
    """The keys of the simulator's webhooks; the newest one signs."""

    def __init__(self) -> None:
        self.keys = [SigningKey()]

    def current(self) -> SigningKey:
        """Return the key that signs."""
        return self.keys[-1]

    def rotate(self) -> SigningKey:
        """Make a new key that signs from now on; the old ones stay good until they expire."""
        self.keys.append(SigningKey())
        return self.current()

    def find(self, key_id: str) -> SigningKey | None:
        """Return a key by its id."""
        return next((key for key in self.keys if key.key_id == key_id), None)


def claims_of(body: bytes, age_seconds: int = 0) -> dict[str, Any]:
    """Return the two claims of a webhook's token."""
    return {"iat": int(time.time()) - age_seconds, "request_body_sha256": hashlib.sha256(body).hexdigest()}


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(_COORDINATE_BYTES, "big")).rstrip(b"=").decode()
