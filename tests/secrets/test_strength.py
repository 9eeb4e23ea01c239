"""What counts as a secret: the corpus decides, 322 bad and 104 good ones."""

import json
from pathlib import Path

import pytest

from core.encryption import EncryptionKeyProvider
from core.errors import ConfigurationError
from core.resources import open_resources
from core.secrets.strength import refuse_weak, weakness, weaknesses
from core.secrets.values import SecretValues
from core.settings import load_settings

CORPUS = Path(__file__).parent / "corpus"


def corpus(name):
    return [json.loads(line) for line in (CORPUS / f"{name}.ndjson").read_text().splitlines()]


def test_every_bad_secret_is_refused_and_none_is_shown():
    bad = corpus("bad")
    assert len(bad) >= 300
    assert [entry for entry in bad if weakness(entry["name"], entry["value"]) is None] == []
    for entry in bad:
        with pytest.raises(ConfigurationError) as refused:
            refuse_weak(SecretValues.of({entry["name"]: entry["value"]}))
        if len(entry["value"]) > 16:
            assert entry["value"] not in str(refused.value)


def test_every_good_secret_is_accepted():
    good = corpus("good")
    assert len(good) >= 100
    assert [(entry, why) for entry in good if (why := weakness(entry["name"], entry["value"]))] == []


def test_one_value_for_two_uses_is_refused():
    key = EncryptionKeyProvider.generate_key()
    pairs = [
        {"encryption_key": key, "jwt_signing_key": key},
        {"encryption_key": key, "encryption_keys_previous": f"{EncryptionKeyProvider.generate_key()},{key}"},
        {"encryption_key": key, "encryption_keys_previous": key.rstrip("=")},
        {
            "jwt_signing_key": "vT3nQ8xK2mZ7wL4pR9cB6yJ1sF5dH0gA",
            "database_password": "vT3nQ8xK2mZ7wL4pR9cB6yJ1sF5dH0gA",
        },
    ]
    for values in pairs:
        assert any("holds the same value" in problem for problem in weaknesses(SecretValues.of(values)))


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PLAID_SECRET", "changeme", "PLAID_SECRET has 8 characters"),
        ("JWT_SIGNING_KEY", "your-256-bit-secret-your-256-bit-secret", "JWT_SIGNING_KEY is made of known words"),
        ("MANNA_ENCRYPTION_KEYS_PREVIOUS", "AAAA" * 10 + "AAA=", "is a pattern|is not a key"),
    ],
)
async def test_production_does_not_start_with_a_weak_secret(settings, monkeypatch, variable, value, reason):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    monkeypatch.setenv("PLAID_SECRET", "4f7c1a9e2b8d3f6a1c9e5b70244f7c")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=reason):
        async with open_resources(load_settings()):
            pass
