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

    def sign(self, body: bytes, issued_at: int | None = None) -> str:
        """Return the token that Plaid sends in `Plaid-Verification` with these very bytes."""
        claims = {
            "iat": int(time.time()) if issued_at is None else issued_at,
            "request_body_sha256": hashlib.sha256(body).hexdigest(),
        }
        return jwt.encode(claims, self._private, algorithm="ES256", headers={"kid": self.key_id})

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


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(_COORDINATE_BYTES, "big")).rstrip(b"=").decode()
