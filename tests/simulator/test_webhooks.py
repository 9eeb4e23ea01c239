"""Webhooks are signed as Plaid signs them, sent again when they are refused, and spoiled on demand."""

import hashlib
import hmac
import json
import time

import jwt
import pytest

from simulator.webhooks.payloads import WEBHOOKS

FORGERIES = ("no_header", "garbage", "signature", "body", "stale", "alg_none", "hs256", "other_key", "unknown_key")


@pytest.fixture
def item(simulator, receiver):
    return simulator.link(transactions=3, webhook=receiver.url)


def fire(simulator, item, code="LOGIN_REPAIRED"):
    return simulator.ask("/sandbox/item/fire_webhook", item, webhook_code=code)


def verified(simulator, token, body):
    """Check a webhook by the five steps of Plaid's documentation."""
    header = jwt.get_unverified_header(token)
    if header["alg"] != "ES256":
        raise jwt.InvalidAlgorithmError
    asked = {"key_id": header["kid"]}
    found = simulator.http.post("/webhook_verification_key/get", json=asked).json()
    if "key" not in found:
        raise jwt.InvalidKeyError
    claims = jwt.decode(token, jwt.PyJWK.from_dict(found["key"]), algorithms=["ES256"])
    if claims["iat"] < time.time() - 300:
        raise jwt.ImmatureSignatureError
    if not hmac.compare_digest(claims["request_body_sha256"], hashlib.sha256(body).hexdigest()):
        raise jwt.InvalidTokenError
    return json.loads(body)


@pytest.mark.parametrize("code", WEBHOOKS)
def test_every_code_is_fired_signed_and_indented(simulator, item, receiver, code):
    assert fire(simulator, item, code).json()["webhook_fired"]
    token, body = receiver.next()
    document = verified(simulator, token, body)
    assert (document["webhook_code"], document["item_id"]) == (code, item["item_id"])
    assert document["environment"] == "sandbox"
    assert body.startswith(b'{\n  "')


def test_what_can_not_be_fired_is_refused(simulator, item):
    assert fire(simulator, item, "NO_SUCH").json()["error_code"] == "INVALID_FIELD"
    simulator.ask("/item/webhook/update", item, webhook=None)
    assert fire(simulator, item).json()["error_code"] == "SANDBOX_WEBHOOK_INVALID"
    assert simulator.ask("/item/webhook/update", item, webhook="nowhere").json()["error_code"] == "INVALID_FIELD"


def test_updates_are_announced_only_once_the_item_was_synced(simulator, item, receiver):
    assert simulator.evolve(item, added=1, announce=True)["announced"] == 0
    simulator.sync(item)
    assert simulator.evolve(item, added=1, announce=True)["announced"] == 1
    assert json.loads(receiver.next()[1])["historical_update_complete"]


def test_a_refused_webhook_waits_and_is_sent_again_with_a_fresh_signature(simulator, item, receiver):
    receiver.statuses = [503, 503]
    fire(simulator, item)
    tokens, states = [], []
    for _ in range(3):
        tokens.append(receiver.next()[0])
        [delivery] = simulator.control("webhooks", item_id=item["item_id"])["webhooks"]
        states.append((delivery["state"], delivery["attempts"], delivery["status"]))
        simulator.control("webhooks/retry")
    assert states == [("retrying", 1, 503), ("retrying", 2, 503), ("delivered", 3, 200)]
    assert len(set(tokens)) == 3


def test_the_schedule_ends_after_seven_attempts(own_simulator, receiver):
    own_simulator.control("webhooks/schedule", scale=0)
    receiver.statuses = [500] * 9
    item = own_simulator.link(webhook=receiver.url)
    fire(own_simulator, item)
    for _ in range(7):
        receiver.next()
    [delivery] = own_simulator.control("webhooks")["webhooks"]
    assert (delivery["state"], delivery["attempts"]) == ("failed", 7)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_webhook_fails_plaids_verification_and_the_true_one_passes(simulator, item, receiver, forgery):
    simulator.fault(item, "webhook_forged", forgery=forgery)
    fire(simulator, item)
    good, bad = [], []
    for token, body in (receiver.next(), receiver.next()):
        try:
            good.append(verified(simulator, token or "", body))
        except jwt.PyJWTError as error:
            bad.append(error)
    assert (len(good), len(bad)) == (1, 1)


def test_webhooks_come_twice_late_in_another_order_or_never(simulator, item, receiver):
    simulator.fault(item, "webhook_duplicate", same_token=True)
    fire(simulator, item)
    assert receiver.next() == receiver.next()
    simulator.fault(item, "webhook_late", seconds=400)
    fire(simulator, item)
    token, body = receiver.next()
    with pytest.raises(jwt.ImmatureSignatureError):
        verified(simulator, token, body)
    simulator.fault(item, "webhook_reorder")
    fire(simulator, item, "PENDING_DISCONNECT")
    fire(simulator, item, "LOGIN_REPAIRED")
    codes = [json.loads(receiver.next()[1])["webhook_code"] for _ in range(2)]
    assert codes == ["LOGIN_REPAIRED", "PENDING_DISCONNECT"]
    simulator.fault(item, "webhook_lost")
    fire(simulator, item)
    assert simulator.control("webhooks", item_id=item["item_id"])["webhooks"][-1]["state"] == "lost"
    assert receiver.came.empty()


def test_a_held_webhook_goes_when_it_is_released(simulator, item, receiver):
    fault_id = simulator.fault(item, "webhook_hold", code="LOGIN_REPAIRED")
    fire(simulator, item)
    [held] = simulator.control("held", fault_id=fault_id)["held"]
    assert held["webhook_code"] == "LOGIN_REPAIRED"
    fire(simulator, item, "NEW_ACCOUNTS_AVAILABLE")
    assert b"NEW_ACCOUNTS_AVAILABLE" in receiver.next()[1]
    simulator.control("release", fault_id=fault_id)
    assert b"LOGIN_REPAIRED" in receiver.next()[1]


def test_keys_rotate_and_expire(own_simulator, receiver):
    item = own_simulator.link(webhook=receiver.url)
    fire(own_simulator, item)
    first = receiver.next()
    rotated = own_simulator.control("keys/rotate")["key"]["kid"]
    fire(own_simulator, item)
    second = receiver.next()
    assert verified(own_simulator, *first)
    assert jwt.get_unverified_header(second[0])["kid"] == rotated
    assert verified(own_simulator, *second)
    own_simulator.control("keys/expire")
    assert [key["expired_at"] is None for key in own_simulator.control("keys")["keys"]] == [False, True]
