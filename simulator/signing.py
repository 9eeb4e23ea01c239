import hashlib
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

_COORDINATE_BYTES = 32


@dataclass(slots=True)
class SigningKey:
    """A webhook key; expired ones are still served, with `expired_at` set."""

    kid: str = field(default_factory=lambda: str(uuid4()))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    created_at: int = field(default_factory=lambda: int(time.time()))
    expired_at: int | None = None

    def jwk(self) -> dict[str, Any]:
        """The public half as /webhook_verification_key/get gives it."""
        numbers = self.private.public_key().public_numbers()
        return {
            "alg": "ES256",
            "created_at": self.created_at,
            "crv": "P-256",
            "expired_at": self.expired_at,
            "kid": self.kid,
            "kty": "EC",
            "use": "sig",
            "x": _base64(numbers.x),
            "y": _base64(numbers.y),
        }


@dataclass(frozen=True, slots=True)
class Forgery:
    """What a signature shall have wrong; the default has nothing wrong."""

    alg: str = "ES256"
    kid: str | None = None
    iat: int | None = None
    body_sha256: str | None = None
    wrong_key: bool = False
    headers: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)


_HONEST = Forgery()


class KeyRing:
    """Signs webhooks with the newest key and publishes every key there ever was."""

    def __init__(self) -> None:
        self.current = SigningKey()
        self._keys = {self.current.kid: self.current}

    def get(self, kid: str) -> SigningKey | None:
        """The key of that id."""
        return self._keys.get(kid)

    def rotate(self, *, expire_old: bool) -> SigningKey:
        """Sign with a new key from now on; with `expire_old` every earlier key is marked expired."""
        if expire_old:
            for key in self._keys.values():
                key.expired_at = key.expired_at or int(time.time())
        self.current = SigningKey()
        self._keys[self.current.kid] = self.current
        return self.current

    def sign(self, body: bytes, forgery: Forgery = _HONEST) -> str:
        """The `Plaid-Verification` header for exactly these bytes."""
        claims = {
            "iat": int(time.time()) if forgery.iat is None else forgery.iat,
            "request_body_sha256": forgery.body_sha256 or hashlib.sha256(body).hexdigest(),
        }
        kid = forgery.kid or self.current.kid
        key = self._keys.get(kid, self.current)
        headers = {"kid": kid, "typ": "JWT"} | forgery.headers
        return jwt.encode(claims | forgery.claims, _secret(key, forgery), forgery.alg, headers=headers)


def _secret(key: SigningKey, forgery: Forgery) -> Any:
    if forgery.alg == "none":
        return None
    if forgery.alg.startswith("HS"):
        # Algorithm confusion: the published half taken for a shared secret.
        return key.jwk()["x"] + key.jwk()["y"]
    if forgery.alg != "ES256":
        raise ValueError(f"cannot sign with {forgery.alg}: ES256, HS256, HS384, HS512 and none are known")
    return SigningKey().private if forgery.wrong_key else key.private


def _base64(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(_COORDINATE_BYTES, "big")).rstrip(b"=").decode()
