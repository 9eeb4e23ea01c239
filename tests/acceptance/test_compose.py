"""docker-compose.yml: valid by its own schema, closed where it should be, and its processes run as it says.

No container engine is needed: what the file says of each process, command, environment, secret files and health
check, is started here as it stands, on the test's own servers.
"""

import asyncio
import re
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest
from ruamel.yaml import YAML
from sqlalchemy import make_url

from core.encryption import EncryptionKeyProvider
from devstack.places import free_port
from devstack.processes import open_supervisor
from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
PARTS = {"postgres", "redis", "migrate", "web", "worker", "audit", "beat", "flower", "simulator"}
# The contract's processes, in its own words.
COMMANDS = (
    "celery -A worker worker -Q sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance",
    "celery -A worker worker -Q audit",
    "celery -A worker beat",
    "celery -A worker flower",
    "manna web",
    "alembic upgrade head",
    "python -m simulator",
)
WEB, FLOWER, BANK = "8000", "5555", "8099"


@pytest.fixture(scope="module")
def compose():
    return YAML(typ="safe").load(FILE)


def ours(compose):
    return {name: part for name, part in compose["services"].items() if part["image"].startswith("manna-sync")}


def test_it_is_valid(compose):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert set(compose["services"]) == PARTS


def test_every_process_is_one_of_the_contract(compose):
    started = {name: " ".join(part["command"]) for name, part in ours(compose).items()}
    assert [name for name, line in started.items() if not line.startswith(COMMANDS)] == []
    assert {
        command for command in COMMANDS if not [line for line in started.values() if line.startswith(command)]
    } == set()


def test_every_secret_is_a_file_and_none_is_in_the_environment(compose):
    named = {name for part in compose["services"].values() for name in part.get("secrets", [])}
    assert named == set(compose["secrets"])
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    told = {name for part in compose["services"].values() for name in part.get("environment", {})}
    assert [name for name in told if re.search("PASSWORD|SECRET|KEY|TOKEN", name)] == [
        name for name in told if name in {"POSTGRES_PASSWORD_FILE", "SECRETS_PROVIDER"}
    ]


def test_who_depends_on_a_healthy_part_can_learn_of_its_health(compose):
    services = compose["services"]
    for part in services.values():
        for name, how in part.get("depends_on", {}).items():
            assert how["condition"] in {"service_healthy", "service_completed_successfully"}
            if how["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"]
    for name in ("web", "worker", "audit", "beat"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_the_processes_can_write_nothing_and_the_data_is_reached_from_inside_only(compose):
    for part in ours(compose).values():
        assert part["read_only"]
        assert part["cap_drop"] == ["ALL"]
        assert part["security_opt"] == ["no-new-privileges:true"]
    for name in ("postgres", "redis"):
        assert compose["services"][name]["networks"] == ["inside"]
        assert "ports" not in compose["services"][name]
    assert compose["networks"]["inside"] == {"internal": True}
    assert "--appendonly yes" in " ".join(compose["services"]["redis"]["command"])


def test_the_image_runs_as_a_user_and_holds_what_the_processes_import():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {line.split()[1] for line in lines if re.match(r"COPY \w+ ", line)}
    assert {"cli", "core", "migrations", "tasks", "web", "worker", "simulator", "deploy"} <= copied
    assert not [name for name in copied if not (ROOT / name).exists()]
    (user,) = [line for line in lines if line.startswith("USER")]
    assert user == "USER 10001:10001"
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied <= allowed


class Engine:
    """What Docker would do with a service, as far as a process can see it."""

    def __init__(self, compose, supervisor, folder: Path, shell: dict[str, str]) -> None:
        self._compose = compose
        self._supervisor = supervisor
        self._folder = folder
        self._shell = shell
        self._places = {"0.0.0.0": "127.0.0.1", "/app": str(ROOT), "/tmp": str(folder)}
        self._places |= {port: str(free_port()) for port in (WEB, FLOWER, BANK)}

    def address(self, port):
        return f"http://127.0.0.1:{self._places[port]}"

    def environment(self, name):
        """The service's environment and nothing of this process's, with the shell's values put in."""
        told = self._compose["services"][name]["environment"]
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        base = {"PATH": path, "HOSTNAME": socket.gethostname(), "SECRETS_DIRECTORY": str(self._folder / "secrets")}
        passed = {key: self._shell[key] for key, value in told.items() if value is None and key in self._shell}
        return base | passed | {key: self._filled(value) for key, value in told.items() if value is not None}

    def command(self, name):
        return [self._placed(word) for word in self._compose["services"][name]["command"]]

    def run(self, name):
        return subprocess.run(
            self.command(name), env=self.environment(name), cwd=ROOT, capture_output=True, text=True, check=False
        )

    def start(self, name):
        self._supervisor.start(name, self.command(name), log=self._folder / f"{name}.log", env=self.environment(name))

    def wait_healthy(self, name):
        """Ask the service's own health check until it agrees."""
        kind, *words = [self._placed(word) for word in self._compose["services"][name]["healthcheck"]["test"]]
        argv = words if kind == "CMD" else ["/bin/sh", "-c", words[0].replace("$$", "$")]

        def agrees():
            asked = subprocess.run(argv, env=self.environment(name), cwd=ROOT, capture_output=True, check=False)
            return asked.returncode == 0

        self._supervisor.wait_ready(name, agrees)

    def _filled(self, value):
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: self._shell.get(found[1], found[2]), value)

    def _placed(self, word):
        # In one go: what stands for a place may hold another's name.
        return re.sub("|".join(map(re.escape, self._places)), lambda found: self._places[found[0]], word)


@pytest.fixture
def engine(compose, settings, tmp_path):
    url = make_url(settings.database_url)
    folder = tmp_path / "secrets"
    folder.mkdir()
    given = {
        "encryption_key": EncryptionKeyProvider.generate_key(),
        "database_password": url.password,
        "plaid_secret": "sandbox-secret",
        "jwt_signing_key": secrets.token_urlsafe(48),
        "flower_basic_auth": "operator:let-me-see",
    }
    for name, value in given.items():
        (folder / name).write_text(value + "\n")
    bare = url._replace(password=None).render_as_string(hide_password=False)
    with open_supervisor() as supervisor:
        engine = Engine(compose, supervisor, tmp_path, {"DATABASE_URL": bare, "REDIS_URL": settings.redis_url})
        engine._shell["PLAID_BASE_URL"] = engine.address(BANK)
        yield engine


async def sealed_and_stored(database_url):
    """Wait for the first commit's event to be sealed; how many rows there are then."""
    connection = await asyncpg.connect(database_url)
    while not await connection.fetchval("SELECT count(*) FROM audit_events WHERE event_type = 'plaid:item:synced'"):
        await connection.execute("SELECT pg_sleep(0.05)")
    stored = await connection.fetchval("SELECT count(*) FROM transactions")
    await connection.close()
    return stored


def test_the_services_work_together_as_the_file_starts_them(engine, settings):
    migrated = engine.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    for name in ("simulator", "web", "worker", "audit", "beat", "flower"):
        engine.start(name)
    for name in ("simulator", "web", "worker", "flower"):
        engine.wait_healthy(name)

    asked = {"count": 1, "transactions": 30}
    (item,) = httpx.post(f"{engine.address(BANK)}/control/items", json=asked).json()["items"]
    add = ["manna", "items", "add", "--user", "u", "--item-id", item["item_id"]]
    environment = engine.environment("web")
    subprocess.run(add, input=item["access_token"], env=environment, cwd=ROOT, text=True, check=True)
    assert asyncio.run(sealed_and_stored(settings.database_url)) == 30

    flower = engine.address(FLOWER)
    assert httpx.get(flower).status_code == 401
    assert httpx.get(flower, auth=("operator", "let-me-see")).status_code == 200
