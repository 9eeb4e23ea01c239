"""Tokens that other libraries encrypted: read once, with their keys, to be sealed here.

The formats are those of sqlalchemy-utils 0.30 to 0.43 (`AesGcmEngine`, `FernetEngine`: the key is any text, of
which SHA-256 is taken) and of cryptography's `MultiFernet` (the keys are Fernet's own, one a line, newest first).
Neither knows the row that a token belongs to, so nothing here can tell whether two were exchanged.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.encryption.keyring import UNSEALED_PREFIX
from core.errors import ConfigurationError, EncryptionError

Reveal = Callable[[str], str]

PLAID_TOKEN = re.compile(r"access-(?:sandbox|development|production)-[0-9A-Za-z-]{1,220}")
NONCE_BYTES, TAG_BYTES = 12, 16


class TokenFormat(StrEnum):
    """How a token that is to be taken over is stored."""

    PLAIN = "plain"
    SQLALCHEMY_UTILS_AES_GCM = "sqlalchemy-utils-aes-gcm"
    SQLALCHEMY_UTILS_FERNET = "sqlalchemy-utils-fernet"
    MULTIFERNET = "multifernet"


def revealer(kind: TokenFormat, key: str) -> Reveal:
    """Return the function that reads tokens of a format; it raises `EncryptionError` for what is not a Plaid token.

    Raises:
        ConfigurationError: the key is missing, or not one of this format.
    """
    key = key.strip()
    if kind is not TokenFormat.PLAIN and not key:
        raise ConfigurationError(f"tokens of the format {kind} need the key that encrypted them")
    opened = _openers()[kind](key)

    def reveal(stored: str) -> str:
        try:
            text = opened(stored)
        except (InvalidTag, InvalidToken, binascii.Error, ValueError):
            raise EncryptionError("Failed to decrypt data") from None
        if not PLAID_TOKEN.fullmatch(text):
            raise EncryptionError("Failed to decrypt data: what came out is no Plaid access token")
        return text

    return reveal


def _openers() -> dict[TokenFormat, Callable[[str], Reveal]]:
    return {
        TokenFormat.PLAIN: lambda _key: lambda stored: stored.removeprefix(UNSEALED_PREFIX),
        TokenFormat.SQLALCHEMY_UTILS_AES_GCM: _aes_gcm,
        TokenFormat.SQLALCHEMY_UTILS_FERNET: _fernet,
        TokenFormat.MULTIFERNET: _multifernet,
    }


def _aes_gcm(key: str) -> Reveal:
    aead = AESGCM(hashlib.sha256(key.encode()).digest())

    def opened(stored: str) -> str:
        # nonce, tag, ciphertext: the tag stands before what it is the tag of.
        box = base64.b64decode(stored, validate=True)
        nonce, tag, body = box[:NONCE_BYTES], box[NONCE_BYTES:][:TAG_BYTES], box[NONCE_BYTES + TAG_BYTES :]
        return aead.decrypt(nonce, body + tag, None).decode()

    return opened


def _fernet(key: str) -> Reveal:
    fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
    return lambda stored: fernet.decrypt(stored.encode()).decode()


def _multifernet(keys: str) -> Reveal:
    try:
        fernet = MultiFernet([Fernet(key.strip()) for key in keys.splitlines() if key.strip()])
    except (ValueError, binascii.Error):
        raise ConfigurationError("the key file holds no Fernet keys; accepted is one key a line") from None
    return lambda stored: fernet.decrypt(stored.encode()).decode()
