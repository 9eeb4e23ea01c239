"""One contract for every provider; then what is particular to each."""

import pickle

import pytest

from core.errors import ConfigurationError, UnavailableError
from core.secrets.aws import AwsProvider
from core.secrets.file import FileProvider
from core.secrets.manager import SecretsManager
from core.secrets.names import SecretName
from core.secrets.vault import VaultProvider
from core.settings import load_settings

VALUE = "kX8vT2mQ9zL4wR7n,with=odd characters ü€ and $igns"


def test_a_secret_is_read_as_it_was_written(store):
    for name in SecretName:
        store.write(name, f"{VALUE}-{name}")
    assert {name: store.provider.get(name) for name in SecretName} == {name: f"{VALUE}-{name}" for name in SecretName}


def test_what_is_not_there_is_none(store):
    assert store.provider.get(SecretName.PLAID_SECRET) is None
    store.write(SecretName.PLAID_SECRET, VALUE)
    assert store.provider.get(SecretName.DATABASE_PASSWORD) is None


def test_a_rotated_secret_counts_at_the_next_look(store):
    for value in ("first", "second"):
        store.write(SecretName.PLAID_SECRET, value)
        assert store.provider.get(SecretName.PLAID_SECRET) == value


def test_no_provider_shows_a_secret(store):
    store.write(SecretName.PLAID_SECRET, VALUE)
    store.provider.get(SecretName.PLAID_SECRET)
    assert VALUE not in repr(store.provider)


def test_the_first_provider_that_has_it_answers(tmp_path, monkeypatch):
    (tmp_path / "plaid_secret").write_text("from the file\n")
    (tmp_path / "jwt_signing_key").write_text("from the file alone\n")
    monkeypatch.setenv("SECRETS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PLAID_SECRET", "from the environment")
    for order, expected in {"file,env": "from the file", "env,file": "from the environment"}.items():
        manager = SecretsManager(lambda order=order: load_settings(secrets_provider=order))
        assert manager.get("plaid_secret") == expected
        assert manager.get("jwt_signing_key") == "from the file alone"


def test_unknown_providers_and_missing_secrets_are_one_line(monkeypatch):
    monkeypatch.delenv("PLAID_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match=r"names 'gcp'; accepted are env, file, aws, vault"):
        SecretsManager(lambda: load_settings(secrets_provider="gcp")).get("plaid_secret")
    with pytest.raises(ConfigurationError, match="set PLAID_SECRET, or PLAID_SECRET_FILE"):
        SecretsManager(lambda: load_settings(environment="test")).get("plaid_secret")


def test_all_values_of_a_moment_show_and_pickle_nothing(monkeypatch):
    monkeypatch.setenv("PLAID_SECRET", VALUE)
    values = SecretsManager(lambda: load_settings(environment="test")).read()
    assert values.get("plaid_secret") == VALUE
    assert VALUE not in repr(values)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(values)


def test_production_refuses_a_file_that_everybody_can_read(tmp_path):
    path = tmp_path / "secret"
    path.write_text("kX8vT2mQ9zL4wR7n")
    environ = {"PLAID_SECRET_FILE": str(path)}
    # The runner's temporary directories are closed to others: the file has to lie where they can get to.
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o755)
    for mode in (0o604, 0o644, 0o602):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match=r"every user may read; accepted is chmod 600"):
            FileProvider(environ, strict=True).get("plaid_secret")
    path.chmod(0o640)
    assert FileProvider(environ, strict=True).get("plaid_secret") == "kX8vT2mQ9zL4wR7n"
    path.chmod(0o644)
    assert FileProvider(environ).get("plaid_secret") == "kX8vT2mQ9zL4wR7n"


def test_a_named_file_that_is_not_there_is_one_line():
    with pytest.raises(ConfigurationError, match="PLAID_SECRET_FILE names /nowhere, which cannot be read"):
        FileProvider({"PLAID_SECRET_FILE": "/nowhere"}).get("plaid_secret")


def test_vault_takes_approle_and_kubernetes(vault, tmp_path):
    vault.document["plaid_secret"] = "from vault"
    account = tmp_path / "token"
    account.write_text("the-service-account\n")
    secret_id = tmp_path / "secret-id"
    secret_id.write_text("the-secret-id\n")
    ways = [
        ({"vault_role_id": "role"}, {"VAULT_SECRET_ID_FILE": str(secret_id)}),
        ({"vault_role_id": "role"}, {"VAULT_SECRET_ID": "the-secret-id"}),
        ({"vault_kubernetes_role": "manna"}, {}),
    ]
    for settings, environ in ways:
        provider = VaultProvider(load_settings(vault_addr=vault.url, **settings), environ, account)
        assert provider.get("plaid_secret") == "from vault"
        vault.tokens.clear()  # as when a lease has run out: logged in again, nothing noticed
        assert provider.get("plaid_secret") == "from vault"


@pytest.mark.parametrize(
    ("settings", "environ", "reason"),
    [
        ({"vault_role_id": "role"}, {"VAULT_SECRET_ID": "wrong"}, "refused logging in by approle: HTTP 400"),
        ({}, {"VAULT_TOKEN": "wrong"}, "refused reading /v1/secret/data/manna: HTTP 403"),
        ({}, {}, "has no way to log in; set VAULT_TOKEN, VAULT_ROLE_ID with VAULT_SECRET_ID"),
    ],
)
def test_vault_s_refusal_is_one_line(vault, settings, environ, reason):
    with pytest.raises(ConfigurationError, match=reason) as refused:
        VaultProvider(load_settings(vault_addr=vault.url, **settings), environ).get("plaid_secret")
    assert "wrong" not in str(refused.value)


def test_a_sealed_or_absent_vault_is_unavailable(vault):
    vault.sealed = True
    for address in (vault.url, "http://127.0.0.1:9"):
        with pytest.raises(UnavailableError, match="Vault"):
            VaultProvider(load_settings(vault_addr=address), {"VAULT_TOKEN": "root-token"}).get("plaid_secret")


def test_what_is_no_answer_of_vault_s_is_one_line(vault):
    vault.behind_a_proxy = True
    with pytest.raises(UnavailableError, match="does not answer as Vault does"):
        VaultProvider(load_settings(vault_addr=vault.url), {"VAULT_TOKEN": "root-token"}).get("plaid_secret")


@pytest.mark.parametrize(
    ("overrides", "reason"), [({}, "set VAULT_ADDR"), ({"vault_addr": "http://vault"}, "must be https://")]
)
def test_vault_in_production_needs_an_encrypted_address(overrides, reason):
    with pytest.raises(ConfigurationError, match=reason):
        VaultProvider(load_settings(environment="production", **overrides))


def test_aws_away_or_not_set_up_is_one_line(aws, monkeypatch):
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
        with pytest.raises(UnavailableError, match="AWS Secrets Manager is not reachable"):
            AwsProvider("manna/").get("plaid_secret")
        away.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(ConfigurationError, match="must specify a region"):
            AwsProvider("manna/")
