"""The envelope: AES-256-GCM with key id, key commitment and associated data (docs/reference/envelope.md).

Layout, 66 bytes around the ciphertext, in base64url behind the prefix::

    version 1 | suite 1 | key id 4 | commitment 32 | nonce 12 | ciphertext n | tag 16

GCM alone does not commit to its key: one ciphertext can be made to open under two keys (Albertini et al.,
"How to Abuse and Fix Authenticated Encryption Without Key Commitment", USENIX Security 2022). The commitment
is derived from the same HKDF secret as the key, so a second key with the same commitment is a SHA-256 collision.
"""

from binascii import Error as BinasciiError
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from os import urandom

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.encryption.uses import KeyUses
from core.errors import EncryptionError

PREFIX = "sealed:v1:"
VERSION = 1
SUITE_AES_256_GCM_COMMITTED = 1
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
COMMITMENT_BYTES = 32
HEADER_BYTES = 2 + 4 + COMMITMENT_BYTES
# Three bytes are four letters, so version, suite and key id can be read off the text, and so can all of the
# header but its last two bytes: an envelope's key is found, and its commitment compared, before anything is decoded.
TAG_CHARACTERS = len(PREFIX) + 8
STEM_HEADER_BYTES = 36
STEM_CHARACTERS = len(PREFIX) + 48
REST_HEADER_BYTES = HEADER_BYTES - STEM_HEADER_BYTES
NONCE = slice(REST_HEADER_BYTES, REST_HEADER_BYTES + NONCE_BYTES)
BODY = slice(REST_HEADER_BYTES + NONCE_BYTES, None)
REST_MINIMUM = REST_HEADER_BYTES + NONCE_BYTES + TAG_BYTES

_TO_URL = bytes.maketrans(b"+/", b"-_")
# The other alphabet's letters, and padding of the sender's, would be second spellings: they become what no base64 has.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
_PADDING = (b"", None, b"==", b"=")
# A last letter with idle bits that are not zero would be one as well.
_LAST_LETTERS: tuple[frozenset[int], ...] = (
    frozenset(),
    frozenset(),
    frozenset(b"AQgw"),
    frozenset(b"AEIMQUYcgkosw048"),
)


def decrypt_failure() -> EncryptionError:
    """Return the one error that every failed opening raises, whichever check failed."""
    return EncryptionError("Failed to decrypt data")


def derive(secret: bytes, info: bytes, length: int, salt: bytes | None = None) -> bytes:
    """Return `length` bytes of HKDF-SHA256 (RFC 5869) over a secret."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def decrypt(aead: AESGCM, nonce: bytes, body: bytes, associated: bytes) -> bytes:
    """Return the plaintext of AES-GCM's ciphertext and tag.

    Raises:
        EncryptionError: another key, other associated data, or any changed, missing or added bit.
    """
    try:
        return aead.decrypt(nonce, body, associated)
    except (InvalidTag, ValueError):
        raise decrypt_failure() from None


@dataclass(frozen=True, slots=True)
class FieldKey:
    """One field-encryption key, ready for use; its repr shows the id alone.

    `tag` and `stem` are the first 18 and the first 58 characters of each of its envelopes.
    """

    key_id: str
    tag: str = field(repr=False)
    stem: str = field(repr=False)
    uses: KeyUses = field(repr=False, compare=False)
    _header: bytes = field(repr=False)
    _rest: bytes = field(repr=False)
    _aead: AESGCM = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> "FieldKey":
        """Derive id, commitment and cipher key from 32 secret bytes."""
        if len(secret) != KEY_BYTES:
            raise ValueError("a field-encryption key has 32 bytes")
        scope = b"manna-sync/field/v1/"
        key_id = derive(secret, scope + b"key-id", 4)
        commitment = derive(secret, scope + b"commitment", COMMITMENT_BYTES)
        header = bytes((VERSION, SUITE_AES_256_GCM_COMMITTED)) + key_id + commitment
        stem = PREFIX + to_base64url(header[:STEM_HEADER_BYTES])
        aead = AESGCM(derive(secret, scope + b"aes-256-gcm", KEY_BYTES))
        return cls(
            key_id.hex(), stem[:TAG_CHARACTERS], stem, KeyUses(key_id.hex()), header, header[STEM_HEADER_BYTES:], aead
        )

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """Return the envelope of `plaintext`, which opens only under the same `context`.

        Raises:
            KeyExhaustedError: the key has sealed as often as random nonces allow.
        """
        self.uses.count()
        # The system's generator each time: a store of nonces would repeat them in a copy of the process's memory.
        nonce = urandom(NONCE_BYTES)
        body = self._aead.encrypt(nonce, plaintext, self._header + context)
        return self.stem + to_base64url(self._rest + nonce + body)

    def seal_bytes(self, plaintext: bytes, context: bytes) -> bytes:
        """Return the envelope as bytes: the same layout, without prefix and base64url.

        Raises:
            KeyExhaustedError: the key has sealed as often as random nonces allow.
        """
        self.uses.count()
        nonce = urandom(NONCE_BYTES)
        return b"".join((self._header, nonce, self._aead.encrypt(nonce, plaintext, self._header + context)))

    def open_bytes(self, sealed: bytes, context: bytes) -> bytes:
        """Return the plaintext of an envelope of bytes.

        Raises:
            EncryptionError: another key, another context, or any changed, missing or added bit.
        """
        if len(sealed) < HEADER_BYTES + NONCE_BYTES + TAG_BYTES or not sealed.startswith(self._header):
            raise decrypt_failure()
        nonce, body = sealed[HEADER_BYTES:][:NONCE_BYTES], sealed[HEADER_BYTES + NONCE_BYTES :]
        return decrypt(self._aead, nonce, body, self._header + context)

    def open(self, sealed: str, context: bytes) -> bytes:
        """Return the plaintext of an envelope.

        Raises:
            EncryptionError: another key, another context, or any changed, missing or added bit.
        """
        if sealed[:STEM_CHARACTERS] != self.stem:
            raise decrypt_failure()
        return self.open_rest(sealed[STEM_CHARACTERS:], context)

    def open_rest(self, letters: str, context: bytes) -> bytes:
        """Return the plaintext of an envelope of which only what follows the stem is given: the stem was this key's.

        Raises:
            EncryptionError: as `open`.
        """
        rest = from_base64url(letters)
        if rest[:REST_HEADER_BYTES] != self._rest or len(rest) < REST_MINIMUM:
            raise decrypt_failure()
        return decrypt(self._aead, rest[NONCE], rest[BODY], self._header + context)


def is_sealed(text: str) -> bool:
    """Tell whether the text claims to be an envelope; only opening it proves so."""
    return text.startswith(PREFIX)


def stem_of(sealed: bytes) -> str:
    """Return what the text form of an envelope of bytes begins with; it names the key and commits to it."""
    return PREFIX + to_base64url(sealed[:STEM_HEADER_BYTES])


def to_base64url(data: bytes) -> str:
    """Return base64url (RFC 4648, section 5) without padding."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding, accepting exactly one spelling of them.

    Raises:
        EncryptionError: any other letter, a length that cannot be, or idle bits that are not zero.
    """
    try:
        letters = text.encode("ascii").translate(_FROM_URL)
        over = len(letters) % 4
        if over:
            letters = _padded(letters, over)
        return a2b_base64(letters, strict_mode=True)
    except (BinasciiError, UnicodeEncodeError):
        raise decrypt_failure() from None


def _padded(letters: bytes, over: int) -> bytes:
    padding = _PADDING[over]
    if padding is None or letters[-1] not in _LAST_LETTERS[over]:
        raise decrypt_failure()
    return letters + padding


def context_of(table: str, column: str, *row: object) -> bytes:
    """Return the associated data that binds a value to its place: table, column, and the row's primary key.

    Each part stands behind its length, so that no two places can spell the same bytes.
    """
    parts = [part.encode() for part in (table, column, *map(str, row))]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
