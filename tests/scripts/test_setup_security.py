"""Setting up: whole files of mode 0600, nothing printed, nothing replaced, fit to start with."""

import os
import stat
import subprocess
import sys
import threading

import pytest
from dotenv import dotenv_values

from core.encryption import EncryptionKeyProvider
from core.secrets.file import FileProvider
from core.secrets.manager import SecretsManager
from core.secrets.names import SecretName, variable_of
from core.secrets.strength import weaknesses
from core.settings import load_settings
from scripts import setup_security
from tests.conftest import ROOT


def modes(directory):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def contents(directory):
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_production_gets_a_closed_directory_of_strong_secrets(tmp_path, capsys, monkeypatch):
    directory = tmp_path / "secrets"
    assert setup_security.main(["--environment", "production", "--directory", str(directory)]) == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes(directory) == dict.fromkeys(setup_security.MAKERS, 0o600)
    monkeypatch.setenv("SECRETS_DIRECTORY", str(directory))
    for name in SecretName:
        monkeypatch.delenv(variable_of(name), raising=False)
    values = SecretsManager(lambda: load_settings(environment="production", secrets_provider="file")).read()
    assert list(weaknesses(values)) == []
    assert EncryptionKeyProvider.load_keyring(load_settings(environment="test"), values.get)
    printed = capsys.readouterr().out
    assert not [value for value in contents(directory).values() if value.strip() in printed]
    assert f"left  PLAID_SECRET: from Plaid's dashboard, into {directory}/plaid_secret" in printed


@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_second_run_changes_nothing(tmp_path, capsys, environment):
    arguments = ["--environment", environment, "--directory", str(tmp_path)]
    assert setup_security.main(arguments) == 0
    before = contents(tmp_path)
    assert setup_security.main(arguments) == 0
    assert contents(tmp_path) == before
    assert capsys.readouterr().out.count("kept  ") == len(setup_security.MAKERS)


def test_development_keeps_the_lines_that_are_there(tmp_path):
    (tmp_path / ".env").write_text("# mine\nPLAID_CLIENT_ID=abc\nJWT_SIGNING_KEY=9Xk2Lq8Vz5Tn3Rb7Yc1Md6Wp4Hs0Jf9Gt")
    assert setup_security.main(["--environment", "development", "--directory", str(tmp_path)]) == 0
    text = (tmp_path / ".env").read_text()
    assert text.startswith("# mine\nPLAID_CLIENT_ID=abc\nJWT_SIGNING_KEY=9Xk2Lq8Vz5Tn3Rb7Yc1Md6Wp4Hs0Jf9Gt\n")
    values = dotenv_values(tmp_path / ".env")
    assert values["MANNA_ENVIRONMENT"] == "development"
    assert {"MANNA_ENCRYPTION_KEY", "DATABASE_PASSWORD"} <= set(values)
    assert modes(tmp_path) == {".env": 0o600}


def test_keys_are_printed_when_asked_for(tmp_path, capsys):
    setup_security.main(["--environment", "production", "--directory", str(tmp_path), "--show-keys"])
    printed = capsys.readouterr().out
    assert f"MANNA_ENCRYPTION_KEY={(tmp_path / 'encryption_key').read_text().strip()}" in printed


def test_open_files_are_closed_and_weak_ones_not_replaced(tmp_path, capsys):
    path = tmp_path / "jwt_signing_key"
    path.write_text("changeme")
    path.chmod(0o644)
    assert setup_security.main(["--environment", "production", "--directory", str(tmp_path)]) == 1
    assert path.read_text() == "changeme"
    assert modes(tmp_path) == {"jwt_signing_key": 0o600}
    error = capsys.readouterr().err
    assert "JWT_SIGNING_KEY" in error
    assert "it is not replaced here" in error
    assert len(error.splitlines()) == 1


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text("old")

    def fail(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        setup_security.write_closed(path, "new")
    assert contents(tmp_path) == {"secret": "old"}


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, texts, seen = tmp_path / "secret", ("a" * 200_000, "b" * 200_000), set()
    setup_security.write_closed(path, texts[0])
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        setup_security.write_closed(path, texts[number % 2])
    done.set()
    reader.join()
    assert seen <= set(texts)


def test_a_place_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "scripts.setup_security", "--environment", "production"]
    answer = subprocess.run(
        [*command, "--directory", str(tmp_path / "file" / "below")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert FileProvider({}).place_of("plaid_secret") is None
