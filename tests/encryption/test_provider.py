"""Where keys come from: secrets, the application's secret in development, a file, AWS KMS, Vault."""

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from structlog.testing import capture_logs

from core.encryption import EncryptionKeyProvider, Keyring, KeyStatus, install_keyring, keyring
from core.encryption.cipher import context_of
from core.encryption.wrapping import unwrap_key, wrap_key
from core.errors import ConfigurationError, EncryptionError
from core.settings import Environment, Settings

PLACE = context_of("t", "c", "1")
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # the same in every worker that collects the tests


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    """A process that has installed no keyring yet."""
    monkeypatch.setattr(keyring, "_installed", [])


def given(**secrets):
    return lambda name, required=True: secrets.get(str(name))


def load(environment="production", enabled=True, **secrets):
    settings = Settings.model_construct(environment=Environment(environment), field_encryption_enabled=enabled)
    return EncryptionKeyProvider.load_keyring(settings, given(**secrets))


def test_a_generated_key_loads_and_older_ones_still_open():
    old = load(encryption_key=KEY).seal("text", PLACE)
    newer = load(encryption_key=EncryptionKeyProvider.generate_key(), encryption_keys_previous=f" {KEY} ,")
    assert newer.open(old, PLACE) == "text"
    assert len(newer.key_ids) == 2


@pytest.mark.parametrize("environment", ["production", "test"])
def test_without_a_key_encryption_is_not_initialized(environment):
    with pytest.raises(ConfigurationError, match=r"^Encryption not initialized: set MANNA_ENCRYPTION_KEY to 32 bytes"):
        load(environment, jwt_signing_key="application secret")


def test_development_derives_a_key_from_the_application_secret_and_says_so_once():
    with capture_logs() as lines:
        first = load("development", jwt_signing_key="application secret")
        install_keyring(first)
        second = load("development", jwt_signing_key="application secret")
    assert [line["event"] for line in lines] == ["encryption_key_derived"]
    assert second.open(first.seal("text", PLACE), PLACE) == "text"
    assert load("development", jwt_signing_key="another").key_ids != first.key_ids


def test_development_without_any_secret_is_not_initialized_either():
    with pytest.raises(ConfigurationError, match="Encryption not initialized"):
        load("development")


@pytest.mark.parametrize("text", ["short", "A" * 43, "!" * 43, KEY + "AAAA", "é" * 43, "wrapped:gpg:x"])
def test_what_is_no_key_is_refused_and_not_shown(text):
    with pytest.raises(ConfigurationError) as refused:
        load(encryption_key=text)
    assert text not in str(refused.value)
    assert "accepted are" in str(refused.value)


def test_encryption_switched_off_writes_marked_plain_text_and_is_loud():
    with capture_logs() as lines:
        off = load("development", enabled=False)
    assert [(line["event"], line["log_level"]) for line in lines] == [("field_encryption_disabled", "error")]
    assert off.seal("text", PLACE) == "unsealed:v1:text"
    assert off.open("unsealed:v1:text", PLACE) == "text"
    with pytest.raises(EncryptionError):
        off.open("text", PLACE)


def test_encryption_switched_on_again_refuses_what_was_written_meanwhile():
    with pytest.raises(EncryptionError, match=r"^Failed to decrypt data$"):
        load(encryption_key=KEY).open("unsealed:v1:text", PLACE)


def test_encryption_cannot_be_switched_off_in_production():
    with pytest.raises(ConfigurationError, match="FIELD_ENCRYPTION_ENABLED is off in production"):
        load("production", enabled=False, encryption_key=KEY)


def test_new_secrets_alone_promote_nothing():
    before = load(encryption_key=KEY)
    install_keyring(before.under({before.wanted: KeyStatus.ACTIVE}))
    after = load(encryption_key=EncryptionKeyProvider.generate_key(), encryption_keys_previous=KEY)
    assert after.primary.key_id == before.wanted
    assert after.wanted != before.wanted


def kek(tmp_path: Path, mode: int = 0o600) -> Path:
    path = tmp_path / "kek"
    path.write_text(EncryptionKeyProvider.generate_key() + "\n")
    path.chmod(mode)
    return path


def test_a_key_wrapped_by_a_file_loads_where_the_file_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MANNA_KEK_FILE", str(kek(tmp_path)))
    key = os.urandom(32)
    wrapped = wrap_key(key, "local")
    assert key not in base64.urlsafe_b64decode(wrapped.split(":")[2] + "===")
    assert load(encryption_key=wrapped).key_ids == Keyring.of(key).key_ids


@pytest.mark.parametrize(
    ("name", "content", "mode", "reason"),
    [
        ("", "", 0o600, "name it in MANNA_KEK_FILE"),
        ("kek", "short", 0o600, "holds no key"),
        ("kek", KEY, 0o644, "accepted is mode 0600"),
        ("kek", KEY, 0o600, "does not unwrap"),
        ("missing", KEY, 0o600, "FileNotFoundError"),
    ],
)
def test_a_file_that_cannot_unwrap_says_why(  # noqa: PLR0917 - four parameters of its table, two fixtures
    tmp_path, monkeypatch, name, content, mode, reason
):
    monkeypatch.setenv("MANNA_KEK_FILE", str(kek(tmp_path)))
    wrapped = wrap_key(os.urandom(32), "local")
    other = tmp_path / "kek"
    other.write_text(content)
    other.chmod(mode)
    monkeypatch.setenv("MANNA_KEK_FILE", str(tmp_path / name) if name else "")
    with pytest.raises(ConfigurationError, match=reason):
        unwrap_key(wrapped)


class Transit(BaseHTTPRequestHandler):
    """Speaks Vault's transit API (encrypt, decrypt) with a key of its own for each name."""

    keys: dict[str, bytes]

    def do_POST(self) -> None:
        _, version, engine, operation, name = self.path.split("/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (version, engine) != ("v1", "transit") or self.headers["X-Vault-Token"] != "root-token":
            return self.answer(403, {"errors": ["permission denied"]})
        aead = AESGCM(self.keys.setdefault(name, os.urandom(32)))
        if operation == "encrypt":
            nonce = os.urandom(12)
            box = base64.b64encode(nonce + aead.encrypt(nonce, base64.b64decode(body["plaintext"]), None)).decode()
            return self.answer(200, {"data": {"ciphertext": f"vault:v1:{box}"}})
        box = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
        return self.answer(
            200, {"data": {"plaintext": base64.b64encode(aead.decrypt(box[:12], box[12:], None)).decode()}}
        )

    def answer(self, status: int, document: dict) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def vault(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnTransit", (Transit,), {"keys": {}}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VAULT_TOKEN", "root-token")
    monkeypatch.setenv("MANNA_ENVIRONMENT", "test")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_key_wrapped_by_vault_transit_loads(vault):
    key = os.urandom(32)
    wrapped = wrap_key(key, "vault", "manna")
    assert wrapped.startswith("wrapped:vault:manna:vault:v1:")
    assert load(encryption_key=wrapped).key_ids == Keyring.of(key).key_ids


def test_vault_that_refuses_or_is_away_says_so_without_the_token(vault, monkeypatch):
    wrapped = wrap_key(os.urandom(32), "vault", "manna")
    monkeypatch.setenv("VAULT_TOKEN", "wrong-token")
    with pytest.raises(ConfigurationError, match="Vault refused to decrypt the key: HTTP 403"):
        unwrap_key(wrapped)
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="Vault did not decrypt the key: ConnectError"):
        unwrap_key(wrapped)
    monkeypatch.delenv("VAULT_ADDR")
    with pytest.raises(ConfigurationError, match="set VAULT_ADDR"):
        unwrap_key(wrapped)


@pytest.fixture
def kms(monkeypatch):
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - takes a second to import

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    server.stop()


@pytest.mark.filterwarnings("default")  # moto's and werkzeug's own
def test_a_key_wrapped_by_aws_kms_loads(kms, monkeypatch):
    import boto3  # noqa: PLC0415 - an optional extra

    kms_key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    key = os.urandom(32)
    wrapped = wrap_key(key, "aws", kms_key)
    assert load(encryption_key=wrapped).key_ids == Keyring.of(key).key_ids
    with pytest.raises(ConfigurationError, match="name its id, ARN or alias with --kek"):
        wrap_key(key, "aws")
    with pytest.raises(ConfigurationError, match="AWS KMS refused to encrypt the key: NotFoundException"):
        wrap_key(key, "aws", "00000000-0000-0000-0000-000000000000")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConfigurationError, match="AWS KMS did not decrypt the key: EndpointConnectionError"):
        unwrap_key(wrapped)
