"""An operator's browser session: opened with an API token, kept in Redis, ended by log-out, idleness or expiry.

The browser holds a random word and nothing else; Redis holds that word's digest, so that neither gives the other away.
"""

import hashlib
import secrets
import time
from datetime import UTC, datetime

import msgspec
from redis.asyncio import Redis

from core.access.scopes import Scope
from core.access.signing_keys import SigningKeys
from core.access.tokens import Principal, key_id_of

PREFIX = "sessions:console:"
IDLE_SECONDS = 30 * 60
LONGEST_SECONDS = 12 * 3600
RANDOM_BYTES = 32


class Session(msgspec.Struct, frozen=True):
    """Who is logged in. `csrf` has to come back with every form; `kid` is the key that signed the token.

    `ends_at` is in unix seconds, whatever happens before.
    """

    subject: str
    scopes: frozenset[Scope]
    token_id: str
    kid: str
    csrf: str
    ends_at: float

    def __repr__(self) -> str:
        return f"Session(subject={self.subject!r}, token_id={self.token_id!r})"

    @property
    def principal(self) -> Principal:
        """Whom the session speaks for."""
        return Principal(self.subject, self.scopes, self.token_id, datetime.fromtimestamp(self.ends_at, UTC))


async def open_session(redis: Redis, principal: Principal, token: str) -> tuple[str, Session]:
    """Open a session for a verified token; return the word for the browser, and the session.

    Raises:
        RedisError: it could not be kept.
    """
    word = secrets.token_urlsafe(RANDOM_BYTES)
    ends_at = min(principal.expires_at.timestamp(), time.time() + LONGEST_SECONDS)
    csrf = secrets.token_urlsafe(RANDOM_BYTES)
    session = Session(principal.subject, principal.scopes, principal.token_id, key_id_of(token), csrf, ends_at)
    await redis.set(_name(word), msgspec.json.encode(session), ex=IDLE_SECONDS)
    return word, session


async def find_session(redis: Redis, word: str, keys: SigningKeys | None, *, by_person: bool = True) -> Session | None:
    """Return the session of a browser's word; None when there is none any more.

    A person's request lets the idle time begin anew; what a page asks by itself does not.

    With its signing key a session ends too: taking a key out of the keyring closes what was opened with it.

    Raises:
        RedisError: it could not be looked up.
    """
    name = _name(word)
    kept = await (redis.getex(name, ex=IDLE_SECONDS) if by_person else redis.get(name))
    if kept is None:
        return None
    session = msgspec.json.decode(kept, type=Session)
    known = keys is not None and keys.get(session.kid) is not None
    return session if known and session.ends_at > time.time() else None


async def close_session(redis: Redis, word: str) -> None:
    """End a session for good.

    Raises:
        RedisError: it could not be ended.
    """
    await redis.delete(_name(word))


def _name(word: str) -> str:
    return PREFIX + hashlib.sha256(word.encode()).hexdigest()
