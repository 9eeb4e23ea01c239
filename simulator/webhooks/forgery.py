"""Webhooks that a receiver has to refuse, one for each thing that it has to check."""

from collections.abc import Callable
from uuid import uuid4

import jwt

from simulator.webhooks.delivery import HEADER
from simulator.webhooks.signing import Keyring, SigningKey, claims_of

STALE_SECONDS = 600
Forgery = Callable[[Keyring, bytes], tuple[bytes, dict[str, str]]]


def _token(token: str, body: bytes) -> tuple[bytes, dict[str, str]]:
    return body, {HEADER: token}


def _broken_signature(keyring: Keyring, body: bytes) -> tuple[bytes, dict[str, str]]:
    head, claims, signature = keyring.current().sign(body).split(".")
    return _token(f"{head}.{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}", body)


def _altered_body(keyring: Keyring, body: bytes) -> tuple[bytes, dict[str, str]]:
    return body + b"\n", {HEADER: keyring.current().sign(body)}


def _hmac(keyring: Keyring, body: bytes) -> tuple[bytes, dict[str, str]]:
    key = keyring.current()
    # The classic confusion: the public key, which everybody may have, taken for a shared secret.
    secret = key.document()["x"] + key.document()["y"]
    return _token(jwt.encode(claims_of(body), secret, algorithm="HS256", headers={"kid": key.key_id}), body)


def _unsigned(keyring: Keyring, body: bytes) -> tuple[bytes, dict[str, str]]:
    headers = {"kid": keyring.current().key_id}
    return _token(jwt.encode(claims_of(body), "", algorithm="none", headers=headers), body)


FORGERIES: dict[str, Forgery] = {
    "no_header": lambda _, body: (body, {}),
    "garbage": lambda _, body: _token("not.a.token", body),
    "signature": _broken_signature,
    "body": _altered_body,
    "stale": lambda keyring, body: _token(keyring.current().sign(body, STALE_SECONDS), body),
    "alg_none": _unsigned,
    "hs256": _hmac,
    "other_key": lambda keyring, body: _token(SigningKey().sign(body, key_id=keyring.current().key_id), body),
    "unknown_key": lambda keyring, body: _token(keyring.current().sign(body, key_id=str(uuid4())), body),
}
