"""Plaid's signing key, played by the test: signs as Plaid's documentation says."""

import base64
import hashlib
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

COORDINATE_BYTES = 32


class SigningKey:
    """A P-256 key with its public half as Plaid shows it."""

    def __init__(self, key_id="good", expired_at=None):
        self.key_id, self.expired_at = key_id, expired_at
        self.private = ec.generate_private_key(ec.SECP256R1())

    def sign(self, body, at=None):
        """Return the header of a webhook."""
        claims = {"iat": int(at or time.time()), "request_body_sha256": hashlib.sha256(body).hexdigest()}
        return jwt.encode(claims, self.private, algorithm="ES256", headers={"kid": self.key_id, "typ": "JWT"})

    def document(self):
        """Return the JSON web key."""
        numbers = self.private.public_key().public_numbers()
        shown = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id, "created_at": 1}
        x, y = (number.to_bytes(COORDINATE_BYTES, "big") for number in (numbers.x, numbers.y))
        parts = {
            "x": base64.urlsafe_b64encode(x).rstrip(b"=").decode(),
            "y": base64.urlsafe_b64encode(y).rstrip(b"=").decode(),
        }
        return shown | parts | {"expired_at": self.expired_at}
