"""Proves that a webhook is Plaid's: ES256, a key that Plaid names, a fresh `iat`, the hash of the very bytes.

Source: plaid.com/docs/api/webhooks/webhook-verification.
"""

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import jwt
import msgspec

from core.errors import SyncError, WebhookRejectedError
from core.plaid.schemas import VerificationKey, VerificationKeyAnswer

ALGORITHM = "ES256"
CURVE = "P-256"
MAX_AGE_SECONDS = 300
MAX_AHEAD_SECONDS = 30
KEY_FRESH_SECONDS = 3600
UNKNOWN_FRESH_SECONDS = 60
MAX_KEYS = 256
MAX_KID_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class VerifiedWebhook:
    """What Plaid signed: when, and over which bytes. Its key is the same for a replay and for nothing else."""

    issued_at: datetime
    body_sha256: str

    @property
    def delivery_key(self) -> bytes:
        """SHA-256 of `iat` and body hash; the signature is left out, for ECDSA signs one text in many ways."""
        return hashlib.sha256(f"{int(self.issued_at.timestamp())}.{self.body_sha256}".encode()).digest()


class WebhookKeys:
    """Plaid's webhook keys by `kid`, cached; a `kid` is the sender's choice, so unknown ones are cached too."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes]], now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._keys: OrderedDict[str, tuple[float, VerificationKey | None]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> VerificationKey | None:
        """Return the key, or None when Plaid does not know it.

        Raises:
            SyncError: Plaid could not be asked, so nothing is known about the key.
        """
        if (entry := self._keys.get(kid)) and entry[0] > self._now():
            return entry[1]
        # One question at a time: a flood of one new kid is one request.
        async with self._lock:
            if (entry := self._keys.get(kid)) and entry[0] > self._now():
                return entry[1]
            return await self._ask(kid)

    async def _ask(self, kid: str) -> VerificationKey | None:
        key: VerificationKey | None = None
        try:
            key = msgspec.json.decode(await self._fetch(kid), type=VerificationKeyAnswer).key
        except msgspec.MsgspecError:
            pass
        except SyncError as error:
            if error.error_code != "INVALID_WEBHOOK_VERIFICATION_KEY_ID":
                raise
        fresh = KEY_FRESH_SECONDS if key else UNKNOWN_FRESH_SECONDS
        self._keys[kid] = (self._now() + fresh, key)
        while len(self._keys) > MAX_KEYS:
            self._keys.popitem(last=False)
        return key


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
    if not token:
        raise WebhookRejectedError("no Plaid-Verification header")
    claims = _claims(token, await _key_for(token, keys))
    issued, digest = claims.get("iat"), claims.get("request_body_sha256")
    if not isinstance(issued, int) or isinstance(issued, bool) or not isinstance(digest, str):
        raise WebhookRejectedError("iat or request_body_sha256 is missing")
    if not now() - MAX_AGE_SECONDS <= issued <= now() + MAX_AHEAD_SECONDS:
        raise WebhookRejectedError("iat is older than five minutes or in the future")
    actual = hashlib.sha256(body).hexdigest()
    if not hmac.compare_digest(digest.encode(), actual.encode()):
        raise WebhookRejectedError("the body is not the one that was signed")
    return VerifiedWebhook(datetime.fromtimestamp(issued, UTC), actual)


async def _key_for(token: str, keys: WebhookKeys) -> VerificationKey:
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise WebhookRejectedError("not a JSON web token") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        raise WebhookRejectedError("the token's header does not name ES256 and a key")
    key = await keys.get(kid)
    if key is None or key.kid != kid or (key.kty, key.crv, key.alg) != ("EC", CURVE, ALGORITHM):
        raise WebhookRejectedError("Plaid does not know the key")
    if key.expired_at is not None:
        raise WebhookRejectedError("the key has expired")
    return key


def _claims(token: str, key: VerificationKey) -> dict[str, object]:
    try:
        public = jwt.PyJWK.from_dict(msgspec.to_builtins(key), algorithm=ALGORITHM)
        # iat is checked by the caller against Plaid's own bounds.
        return jwt.decode(token, public, algorithms=[ALGORITHM], options={"verify_iat": False})
    except (jwt.PyJWTError, ValueError):
        raise WebhookRejectedError("the signature does not fit") from None
