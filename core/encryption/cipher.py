"""The envelope: AES-256-GCM with key id, key commitment and associated data (docs/reference/envelope.md).

Layout, 66 bytes around the ciphertext::

    version 1 | suite 1 | key id 4 | commitment 32 | nonce 12 | ciphertext n | tag 16

GCM alone does not commit to its key: one ciphertext can be made to open under two keys (Albertini et al.,
"How to Abuse and Fix Authenticated Encryption Without Key Commitment", USENIX Security 2022). The commitment
is derived from the same HKDF secret as the key, so a second key with the same commitment is a SHA-256 collision.
"""

import base64
import binascii
import hmac
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import EncryptionError

PREFIX = "sealed:v1:"
VERSION = 1
SUITE_AES_256_GCM_COMMITTED = 1
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
COMMITMENT_BYTES = 32
HEADER_BYTES = 2 + 4 + COMMITMENT_BYTES


def decrypt_failure() -> EncryptionError:
    """Return the one error that every failed opening raises, whichever check failed."""
    return EncryptionError("Failed to decrypt data")


def _derive(secret: bytes, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"manna-sync/field/v1/" + label).derive(secret)


@dataclass(frozen=True, slots=True)
class FieldKey:
    """One field-encryption key, ready for use; its repr shows the id alone."""

    key_id: bytes
    header: bytes = field(repr=False)
    _aead: AESGCM = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> "FieldKey":
        """Derive id, commitment and cipher key from 32 secret bytes (HKDF-SHA256, RFC 5869)."""
        if len(secret) != KEY_BYTES:
            raise ValueError("a field-encryption key has 32 bytes")
        key_id = _derive(secret, b"key-id", 4)
        prefix = bytes((VERSION, SUITE_AES_256_GCM_COMMITTED))
        header = prefix + key_id + _derive(secret, b"commitment", COMMITMENT_BYTES)
        return cls(key_id, header, AESGCM(_derive(secret, b"aes-256-gcm", KEY_BYTES)))

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """Return the envelope of `plaintext`, which opens only under the same `context`."""
        nonce = os.urandom(NONCE_BYTES)
        envelope = self.header + nonce + self._aead.encrypt(nonce, plaintext, self.header + context)
        return PREFIX + base64.urlsafe_b64encode(envelope).rstrip(b"=").decode("ascii")

    def open(self, envelope: bytes, context: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            EncryptionError: another key, another context, or any changed, missing or added bit.
        """
        if not hmac.compare_digest(envelope[:HEADER_BYTES], self.header):
            raise decrypt_failure()
        nonce, body = envelope[HEADER_BYTES:][:NONCE_BYTES], envelope[HEADER_BYTES + NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, self.header + context)
        except InvalidTag:
            raise decrypt_failure() from None


def is_sealed(text: str) -> bool:
    """Tell whether the text claims to be an envelope; only opening it proves so."""
    return text.startswith(PREFIX)


def decode(text: str) -> bytes:
    """Return the envelope's bytes, accepting exactly one spelling of them.

    Raises:
        EncryptionError: not an envelope, not canonical base64url, or too short to be one.
    """
    body = text.removeprefix(PREFIX)
    try:
        envelope = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise decrypt_failure() from None
    # A base64 text can have other spellings of its last bits; an audit trail wants one.
    canonical = base64.urlsafe_b64encode(envelope).rstrip(b"=").decode("ascii")
    if not is_sealed(text) or canonical != body or len(envelope) < HEADER_BYTES + NONCE_BYTES + TAG_BYTES:
        raise decrypt_failure()
    return envelope


def context_of(table: str, column: str, row_id: str) -> bytes:
    """Return the associated data that binds a value to its place; lengths keep two places from colliding."""
    parts = [part.encode() for part in (table, column, row_id)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
