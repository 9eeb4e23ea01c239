"""Forged webhooks, two thousand of every kind that can be generated: none passes."""

import base64
import hashlib
import json
import random
from itertools import cycle, islice

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import SyncError, WebhookRejectedError
from core.plaid.webhook_verification import MAX_AGE_SECONDS, MAX_AHEAD_SECONDS, verify_webhook
from tests.web.plaid_key import SigningKey

NOW = 1_777_777_777
BODY = b'{\n  "webhook_type": "TRANSACTIONS",\n  "webhook_code": "SYNC_UPDATES_AVAILABLE",\n  "item_id": "itm1"\n}'
GOOD, EXPIRED, FOREIGN = SigningKey("good"), SigningKey("expired", expired_at=NOW - 1), SigningKey("foreign")


class Keys:
    """Plaid's good key and an expired one."""

    def __init__(self):
        known = (GOOD, EXPIRED)
        self.known = {key.key_id: msgspec.convert(key.document(), type=self.kind(), strict=False) for key in known}

    @staticmethod
    def kind():
        from core.plaid.schemas import VerificationKey  # noqa: PLC0415 - next to its use

        return VerificationKey

    async def get(self, kid):
        return self.known.get(kid)


def claims(body=BODY, **changes):
    return {"iat": NOW, "request_body_sha256": hashlib.sha256(body).hexdigest()} | changes


def signed(told, key=GOOD, algorithm="ES256", **header):
    return jwt.encode(told, key.private, algorithm=algorithm, headers={"kid": key.key_id, "typ": "JWT"} | header)


def part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def unsigned(_random):
    return BODY, f"{part({'alg': 'none', 'kid': 'good'})}.{part(claims())}."


def signed_with_the_public_key(_random):
    public = GOOD.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, told = part({"alg": "HS256", "kid": "good", "typ": "JWT"}), part(claims())
    import hmac  # noqa: PLC0415 - jwt.encode refuses to do what a forger does

    mac = hmac.new(public, f"{header}.{told}".encode(), hashlib.sha256).digest()
    return BODY, f"{header}.{told}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


P384 = ec.generate_private_key(ec.SECP384R1())


def on_another_curve(_random):
    return BODY, jwt.encode(claims(), P384, algorithm="ES384", headers={"kid": "good"})


def by_a_foreign_key(_random):
    return BODY, signed(claims(), FOREIGN)


def by_a_foreign_key_in_a_good_name(_random):
    return BODY, signed(claims(), FOREIGN, kid="good")


def by_an_expired_key(_random):
    return BODY, signed(claims(), EXPIRED)


def without_a_kid(_random):
    return BODY, jwt.encode(claims(), GOOD.private, algorithm="ES256")


def with_a_key_of_its_own_in_the_header(_random):
    return BODY, signed(claims(), FOREIGN, kid="good", jwk=FOREIGN.document(), jku="https://forger.example/keys")


def too_old(chance):
    return BODY, signed(claims(iat=NOW - MAX_AGE_SECONDS - chance.randint(1, 10**6)))


def from_the_future(chance):
    return BODY, signed(claims(iat=NOW + MAX_AHEAD_SECONDS + chance.randint(1, 10**6)))


def with_a_claim_missing(chance):
    told = claims()
    del told[chance.choice(sorted(told))]
    return BODY, signed(told)


def with_a_claim_too_many(chance):
    return BODY, signed(claims(**{chance.choice(["exp", "nbf", "auth_time"]): NOW + 60}))


def with_a_claim_of_another_type(chance):
    wrong = chance.choice([{"iat": str(NOW)}, {"iat": True}, {"iat": None}, {"iat": 1e300}, {"request_body_sha256": 1}])
    header, told = part({"alg": "ES256", "kid": "good", "typ": "JWT"}), part(claims(**wrong))
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
        f"{header}.{told}".encode(), GOOD.private
    )
    return BODY, f"{header}.{told}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def over_a_changed_body(chance):
    place = chance.randrange(len(BODY))
    return BODY[:place] + bytes([BODY[place] ^ 1 << chance.randrange(8)]) + BODY[place + 1 :], signed(claims())


def over_the_same_json_with_other_white_space(_random):
    return json.dumps(json.loads(BODY)).encode(), signed(claims())


def with_a_changed_token(chance):
    token = signed(claims())
    place = chance.randrange(len(token) - 1)
    other = chance.choice([letter for letter in "ABCDxyz019_-." if letter != token[place]])
    return BODY, token[:place] + other + token[place + 1 :]


def cut_short(chance):
    token = signed(claims())
    return BODY, token[: chance.randrange(len(token) - 1)]


def not_a_token(chance):
    return BODY, chance.choice(["", " ", "a.b.c", "null", "e30.e30.", "\x00", "é" * 40, "x" * 5000])


FORGERIES = [
    unsigned,
    signed_with_the_public_key,
    on_another_curve,
    by_a_foreign_key,
    by_a_foreign_key_in_a_good_name,
    by_an_expired_key,
    without_a_kid,
    with_a_key_of_its_own_in_the_header,
    too_old,
    from_the_future,
    with_a_claim_missing,
    with_a_claim_too_many,
    with_a_claim_of_another_type,
    over_a_changed_body,
    over_the_same_json_with_other_white_space,
    with_a_changed_token,
    cut_short,
    not_a_token,
]


async def passes(body, token):
    try:
        await verify_webhook(body, token, Keys(), lambda: NOW)
    except (WebhookRejectedError, SyncError):
        return False
    return True


async def test_what_plaid_has_signed_passes_to_the_edges_of_its_time():
    for issued in (NOW, NOW - MAX_AGE_SECONDS, NOW + MAX_AHEAD_SECONDS):
        proof = await verify_webhook(BODY, signed(claims(iat=issued)), Keys(), lambda: NOW)
        assert proof.body_sha256 == hashlib.sha256(BODY).hexdigest()


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_none_of_two_thousand_forgeries_passes():
    chance = random.Random(20260502)
    passed = []
    for forge in islice(cycle(FORGERIES), 2000):
        body, token = forge(chance)
        if await passes(body, token):
            passed.append((forge.__name__, token))
    assert passed == []


async def test_a_replay_has_the_key_of_its_original_though_ecdsa_signs_it_anew():
    first, second = signed(claims()), signed(claims())
    assert first != second
    keys = {(await verify_webhook(BODY, token, Keys(), lambda: NOW)).delivery_key for token in (first, second)}
    assert len(keys) == 1
