"""API tokens: JSON web tokens (RFC 7519, 9068), HMAC-SHA-256 and nothing else, always with an end."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from core.access.scopes import Scope
from core.access.signing_keys import SigningKey, SigningKeys
from core.errors import TokenRefusedError
from core.identity import new_id

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER = "manna-sync"
AUDIENCE = "manna-sync-api"
REQUIRED = ["exp", "iat", "iss", "aud", "sub", "jti", "scope"]
# Hosts that issue and hosts that verify are never quite of one time.
CLOCK_SKEW_SECONDS = 5
MAX_TTL_SECONDS = 90 * 24 * 3600
MAX_TOKEN_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token speaks for, and what it may do."""

    subject: str
    scopes: frozenset[Scope]
    token_id: str
    expires_at: datetime


def issue_token(
    keys: SigningKeys, subject: str, scopes: Collection[Scope], ttl_seconds: int, now: float | None = None
) -> tuple[str, Principal]:
    """Return a token of the primary key, and what it says.

    Args:
        keys: the keyring.
        subject: who it is for; appears in the audit log.
        scopes: what it may do; at least one.
        ttl_seconds: how long it lives, at most 90 days.
        now: unix seconds, the clock's if absent.

    Raises:
        ValueError: no subject, no scope, or a life that is too long or none at all.
    """
    if not subject.strip() or not scopes:
        raise ValueError("a token needs a subject and at least one scope")
    if not 0 < ttl_seconds <= MAX_TTL_SECONDS:
        raise ValueError("a token lives between one second and 90 days")
    issued = int(time.time() if now is None else now)
    expires = issued + ttl_seconds
    principal = Principal(subject, frozenset(scopes), str(new_id()), datetime.fromtimestamp(expires, UTC))
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": issued,
        "exp": expires,
        "jti": principal.token_id,
        "scope": " ".join(sorted(scopes)),
    }
    headers = {"kid": keys.primary.kid, "typ": TYPE}
    return jwt.encode(claims, keys.primary.secret, algorithm=ALGORITHM, headers=headers), principal


def verify_token(keys: SigningKeys, token: str) -> Principal:
    """Return whom the token speaks for; scopes that this version does not know are left out.

    Raises:
        TokenRefusedError: any check failed; its text is a constant word for our log, never for the caller.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenRefusedError("too_long")
    try:
        claims = jwt.decode(
            token,
            _key_of(keys, token).secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": REQUIRED, "strict_aud": True},
            leeway=CLOCK_SKEW_SECONDS,
        )
    except jwt.ExpiredSignatureError:
        raise TokenRefusedError("expired") from None
    except jwt.PyJWTError as error:
        raise TokenRefusedError(type(error).__name__) from None
    return _principal(claims)


def key_id_of(token: str) -> str:
    """Return the id of the key that signed a verified token."""
    return str(jwt.get_unverified_header(token)["kid"])


def _key_of(keys: SigningKeys, token: str) -> SigningKey:
    header = jwt.get_unverified_header(token)
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
        raise TokenRefusedError("wrong_algorithm_or_type")
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise TokenRefusedError("unknown_key")
    return key


def _principal(claims: dict[str, Any]) -> Principal:
    scope = claims["scope"]
    known = {word.value for word in Scope}
    words = scope.split() if isinstance(scope, str) else []
    scopes = frozenset(Scope(word) for word in words if word in known)
    return Principal(claims["sub"], scopes, claims["jti"], datetime.fromtimestamp(claims["exp"], UTC))
