"""Proves that a webhook is Plaid's: ES256, a key that Plaid names, a fresh `iat`, the hash of the very bytes.

Source: plaid.com/docs/api/webhooks/webhook-verification.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import jwt
import msgspec

from core.errors import WebhookRejectedError
from core.plaid.schemas import VerificationKey
from core.plaid.webhook_keys import WebhookKeys

ALGORITHM = "ES256"
CURVE = "P-256"
MAX_AGE_SECONDS = 300
MAX_AHEAD_SECONDS = 30
MAX_TOKEN_CHARACTERS = 2048
MAX_KID_CHARACTERS = 128
# Source: Plaid, webhook verification. Nothing else of theirs is signed with these keys, and nothing else passes.
CLAIMS = {"iat", "request_body_sha256"}


@dataclass(frozen=True, slots=True)
class VerifiedWebhook:
    """What Plaid signed: when, and over which bytes. Its key is the same for a replay and for nothing else."""

    issued_at: datetime
    body_sha256: str

    @property
    def delivery_key(self) -> bytes:
        """SHA-256 of `iat` and body hash; the signature is left out, for ECDSA signs one text in many ways."""
        return hashlib.sha256(f"{int(self.issued_at.timestamp())}.{self.body_sha256}".encode()).digest()


async def verify_webhook(
    body: bytes, token: str | None, keys: WebhookKeys, now: Callable[[], float] = time.time
) -> VerifiedWebhook:
    """Return what Plaid signed about `body`, the raw bytes as they arrived.

    Args:
        body: the request body, never parsed and written again: Plaid hashes its own white space.
        token: the `Plaid-Verification` header.
        keys: where keys come from.
        now: the time, in unix seconds.

    Raises:
        WebhookRejectedError: any step failed; the text is for our log.
        SyncError: Plaid could not be asked for the key; the sender shall try again.
    """
    if not token or len(token) > MAX_TOKEN_CHARACTERS:
        raise WebhookRejectedError("no Plaid-Verification header, or one too long")
    claims = _claims(token, await _key_for(token, keys))
    issued, digest = claims.get("iat"), claims.get("request_body_sha256")
    if claims.keys() != CLAIMS:
        raise WebhookRejectedError("the claims are not Plaid's")
    if not isinstance(issued, int) or isinstance(issued, bool) or not isinstance(digest, str):
        raise WebhookRejectedError("iat or request_body_sha256 is missing")
    if not now() - MAX_AGE_SECONDS <= issued <= now() + MAX_AHEAD_SECONDS:
        raise WebhookRejectedError("iat is older than five minutes or in the future")
    actual = hashlib.sha256(body).hexdigest()
    if not hmac.compare_digest(digest.encode(), actual.encode()):
        raise WebhookRejectedError("the body is not the one that was signed")
    return VerifiedWebhook(datetime.fromtimestamp(issued, UTC), actual)


async def _key_for(token: str, keys: WebhookKeys) -> VerificationKey:
    kid = _kid(token.partition(".")[0])
    if kid is None:
        raise WebhookRejectedError("the token's header does not name ES256 and a key")
    key = await keys.get(kid)
    if key is None or key.kid != kid or (key.kty, key.crv, key.alg) != ("EC", CURVE, ALGORITHM):
        raise WebhookRejectedError("Plaid does not know the key")
    if key.expired_at is not None:
        raise WebhookRejectedError("the key has expired")
    return key


@lru_cache(maxsize=64)
def _kid(header: str) -> str | None:
    """Return the key that a token's first part names: the same words in every webhook, so they are read once."""
    try:
        told = jwt.get_unverified_header(f"{header}..")
    except jwt.PyJWTError:
        return None
    kid = told.get("kid")
    good = told.get("alg") == ALGORITHM and isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARACTERS
    return kid if good else None


@lru_cache(maxsize=64)
def _public(key: VerificationKey) -> jwt.PyJWK:
    return jwt.PyJWK.from_dict(msgspec.to_builtins(key), algorithm=ALGORITHM)


def _claims(token: str, key: VerificationKey) -> dict[str, object]:
    try:
        public = _public(key)
        # iat is checked by the caller against Plaid's own bounds.
        return jwt.decode(token, public, algorithms=[ALGORITHM], options={"verify_iat": False})
    except (jwt.PyJWTError, ValueError):
        raise WebhookRejectedError("the signature does not fit") from None
