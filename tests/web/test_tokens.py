"""API tokens: what holds, what does not, and how a signing key is replaced."""

import base64
import json
import secrets

import jwt
import pytest

from core.access.scopes import Scope
from core.access.signing_keys import SigningKey, SigningKeys, load_signing_keys
from core.access.tokens import MAX_TTL_SECONDS, issue_token, verify_token
from core.errors import ConfigurationError, TokenRefusedError


def key(text=None):
    return SigningKey.from_secret("jwt_signing_key", text or secrets.token_urlsafe(32))


OLD, NEW = key(), key()
KEYS = SigningKeys.of(NEW, (OLD,))
CLAIMS = {
    "iss": "manna-sync",
    "aud": "manna-sync-api",
    "sub": "ops",
    "iat": 1_777_777_777,
    "exp": 4_000_000_000,
    "jti": "j1",
    "scope": "items:read",
}


def token(signer=NEW, algorithm="HS256", header=None, **claims):
    told = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(
        told, signer.secret, algorithm=algorithm, headers={"kid": signer.kid, "typ": "at+jwt"} | (header or {})
    )


def unsigned():
    parts = ({"alg": "none", "kid": NEW.kid, "typ": "at+jwt"}, CLAIMS)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, ""))


def test_a_token_says_who_asks_and_what_it_may():
    text, issued = issue_token(KEYS, "ops", [Scope.ITEMS_READ, Scope.AUDIT_READ], 600)
    principal = verify_token(KEYS, text)
    assert principal == issued
    assert (principal.subject, principal.scopes) == ("ops", {Scope.ITEMS_READ, Scope.AUDIT_READ})


def test_a_token_of_the_previous_key_holds_until_that_key_is_taken_out():
    text, _ = issue_token(SigningKeys.of(OLD), "ops", [Scope.ITEMS_READ], 600)
    assert verify_token(KEYS, text).subject == "ops"
    with pytest.raises(TokenRefusedError, match="unknown_key"):
        verify_token(SigningKeys.of(NEW), text)


def test_a_scope_of_a_later_version_is_left_out():
    assert verify_token(KEYS, token(scope="items:read planets:write")).scopes == {Scope.ITEMS_READ}


@pytest.mark.parametrize(
    "forged",
    [
        unsigned(),
        jwt.encode(CLAIMS, key("x" * 64).secret, algorithm="HS512", headers={"kid": NEW.kid, "typ": "at+jwt"}),
        token(header={"kid": "nobody's"}),
        token(header={"typ": "JWT"}),
        token(key(), header={"kid": NEW.kid}),
        token(exp=1_777_777_778),
        token(exp=None),
        token(iat=None),
        token(iat=4_000_000_000),
        token(aud="another-service"),
        token(aud=["manna-sync-api", "another-service"]),
        token(aud=None),
        token(iss="another-issuer"),
        token(iss=None),
        token(sub=None),
        token(jti=None),
        token(scope=None),
        token()[:-4],
        token() + "x" * 5000,
        "not a token",
        "",
    ],
)
def test_what_is_not_wholly_ours_is_refused(forged):
    with pytest.raises(TokenRefusedError):
        verify_token(KEYS, forged)


@pytest.mark.parametrize(
    ("subject", "scopes", "ttl"),
    [(" ", ["items:read"], 60), ("a", [], 60), ("a", ["items:read"], 0), ("a", ["items:read"], MAX_TTL_SECONDS + 1)],
)
def test_no_token_is_issued_for_nobody_for_nothing_or_for_ever(subject, scopes, ttl):
    with pytest.raises(ValueError, match="a token"):
        issue_token(KEYS, subject, [Scope(scope) for scope in scopes], ttl)


def test_a_short_signing_key_is_refused_and_not_shown():
    secret = {"jwt_signing_key": "hunter2"}
    with pytest.raises(ConfigurationError, match="JWT_SIGNING_KEY is too short") as refused:
        load_signing_keys(lambda name, **_: secret.get(name))
    assert "hunter2" not in str(refused.value)
    assert NEW.secret.decode() not in repr(KEYS)
