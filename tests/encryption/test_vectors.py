"""Vectors of others: Wycheproof's through the project's own cipher, and the envelopes of the first day."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.encryption.cipher import context_of, decrypt, derive
from core.encryption.keyring import Keyring
from core.errors import EncryptionError
from tests.encryption.independent import open_envelope, unbase64

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "wycheproof.json").read_text())["vectors"]
GOLDEN = json.loads((HERE / "golden.json").read_text())


def test_every_applicable_aes_gcm_vector_opens_or_is_refused_as_it_should():
    for vector in VECTORS["aes_gcm"]:
        key, iv, aad, message, body, tag = (
            bytes.fromhex(vector[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        aead = AESGCM(key)
        if vector["result"] == "valid":
            assert decrypt(aead, iv, body + tag, aad) == message, vector["tcId"]
            assert aead.encrypt(iv, message, aad) == body + tag, vector["tcId"]
        else:
            with pytest.raises(EncryptionError, match=r"^Failed to decrypt data$"):
                decrypt(aead, iv, body + tag, aad)
    assert {vector["result"] for vector in VECTORS["aes_gcm"]} == {"valid", "invalid"}


def test_every_hkdf_vector_derives_what_it_should():
    for vector in VECTORS["hkdf_sha256"]:
        ikm, salt, info = (bytes.fromhex(vector[name]) for name in ("ikm", "salt", "info"))
        if vector["result"] == "valid":
            assert derive(ikm, info, vector["size"], salt or None).hex() == vector["okm"], vector["tcId"]
        else:
            with pytest.raises(ValueError, match="larger"):
                derive(ikm, info, vector["size"], salt or None)


def test_every_hmac_vector_holds_for_the_hmac_that_derivation_rests_on():
    # HKDF-Extract is HMAC with the salt as its key (RFC 5869, section 2.2): the only HMAC of field encryption.
    for vector in VECTORS["hmac_sha256"]:
        made = HKDF.extract(SHA256(), bytes.fromhex(vector["key"]), bytes.fromhex(vector["msg"]))
        equal = made[: vector["tagSize"] // 8].hex() == vector["tag"]
        assert equal is (vector["result"] == "valid"), vector["tcId"]


@pytest.mark.parametrize("frozen", GOLDEN, ids=range(len(GOLDEN)))
def test_the_envelopes_of_the_first_day_open(frozen):
    keyring = Keyring.of(unbase64(frozen["key"]))
    place = context_of(frozen["table"], frozen["column"], *frozen["row"])
    assert keyring.open(frozen["sealed"], place) == frozen["text"]


@pytest.mark.parametrize("frozen", GOLDEN, ids=range(len(GOLDEN)))
def test_a_decryptor_written_from_the_reference_page_alone_agrees(frozen):
    place = (frozen["table"], frozen["column"], *frozen["row"])
    assert open_envelope(unbase64(frozen["key"]), frozen["sealed"], *place) == frozen["text"]
    keyring = Keyring.of(unbase64(frozen["key"]))
    today = keyring.seal(frozen["text"], context_of(*place))
    assert open_envelope(unbase64(frozen["key"]), today, *place) == frozen["text"]
