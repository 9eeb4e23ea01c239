"""One way to write secrets for each provider, so that one suite holds for all of them."""

import sys

import boto3
import pytest

from core.secrets.aws import AwsProvider
from core.secrets.env import EnvProvider
from core.secrets.file import FileProvider
from core.secrets.names import variable_of
from core.secrets.vault import VaultProvider
from core.settings import load_settings
from devstack.places import answers, free_port, make_directory
from devstack.processes import open_supervisor
from tests.secrets.vault_stand_in import open_vault


class InEnvironment:
    def __init__(self):
        self.environ = {}
        self.provider = EnvProvider(environ=self.environ)

    def write(self, name, value):
        self.environ[variable_of(name)] = value


class InFiles:
    def __init__(self, directory):
        self.directory = directory
        self.provider = FileProvider({"SECRETS_DIRECTORY": str(directory)}, strict=True)

    def write(self, name, value):
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(f"{value}\n")


class InNamedFiles(InFiles):
    def __init__(self, directory):
        super().__init__(directory)
        self.environ = {}
        self.provider = FileProvider(self.environ, strict=True)

    def write(self, name, value):
        super().write(name, value)
        self.environ[f"{variable_of(name)}_FILE"] = str(self.directory / name)


class InCredentials(InFiles):
    def __init__(self, directory):
        super().__init__(directory)
        self.provider = FileProvider({"CREDENTIALS_DIRECTORY": str(directory)}, strict=True)


class InAws:
    def __init__(self):
        self.client = boto3.client("secretsmanager")
        self.provider = AwsProvider("manna/")

    def write(self, name, value):
        try:
            self.client.create_secret(Name=f"manna/{name}", SecretString=value)
        except self.client.exceptions.ResourceExistsException:
            self.client.put_secret_value(SecretId=f"manna/{name}", SecretString=value)


class InVault:
    def __init__(self, server):
        self.server = server
        self.provider = VaultProvider(load_settings(vault_addr=server.url), {"VAULT_TOKEN": "root-token"})

    def write(self, name, value):
        self.server.document[name] = value


@pytest.fixture(scope="session")
def moto_url():
    """moto's server, which answers as AWS does."""
    port = free_port()
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        supervisor.start("moto", argv, log=directory / "moto.log")
        supervisor.wait_ready("moto", lambda: answers(port))
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def aws(moto_url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    yield InAws
    for secret in (client := boto3.client("secretsmanager")).list_secrets()["SecretList"]:
        client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)


@pytest.fixture
def vault():
    with open_vault() as server:
        yield server


@pytest.fixture(params=["env", "directory", "named files", "credentials", "aws", "vault"])
def store(request, tmp_path):
    """A place for secrets, and the provider that reads it."""
    match request.param:
        case "env":
            return InEnvironment()
        case "directory":
            return InFiles(tmp_path)
        case "named files":
            return InNamedFiles(tmp_path)
        case "credentials":
            return InCredentials(tmp_path)
        case "aws":
            return request.getfixturevalue("aws")()
        case _:
            return InVault(request.getfixturevalue("vault"))
