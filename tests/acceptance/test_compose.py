"""docker-compose.yml: valid by its own schema, closed where it should be, and its processes run as it says.

No container engine is needed: what the file says of each process, command, environment, secret files and health
check, is started here as it stands, on the test's own servers.
"""

import asyncio
import json
import re
import secrets
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from ruamel.yaml import YAML
from sqlalchemy import make_url

from core.encryption import EncryptionKeyProvider
from devstack.errors import StackError
from devstack.places import answers, free_port
from devstack.processes import open_supervisor
from devstack.valkey import Valkey
from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
PARTS = {"postgres", "redis", "migrate", "web", "worker", "audit", "beat", "flower", "simulator"}
MONITORING = {"prometheus", "grafana"}
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "manna-sync.json"
# What has no series while all is well: nothing failed, nobody was refused, no bank is down, no replay is open.
EMPTY_WHILE_ALL_IS_WELL = {
    'outcome=~"failed|crashed"',
    'outcome="skipped"',
    "manna_audit_alerts_total",
    "manna_breaker_open",
    "manna_items_failing",
    "manna_replay_items",
    "manna_replays_open",
}
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
    assert set(compose["services"]) == PARTS | MONITORING


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
        name
        for name in told
        if name in {"POSTGRES_PASSWORD_FILE", "GF_SECURITY_ADMIN_PASSWORD__FILE", "SECRETS_PROVIDER"}
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
        self._ports: dict[str, str] = {}
        self._places = {"0.0.0.0": "127.0.0.1", "/app": str(ROOT), "/tmp": str(folder)}
        self._places |= {port: str(free_port()) for port in (WEB, FLOWER, BANK)}

    def address(self, port):
        return f"http://127.0.0.1:{self._places[port]}"

    def metrics_port(self, name):
        """A container has its own ports; here each process needs one."""
        return self._ports.setdefault(name, str(free_port()))

    def environment(self, name):
        """The service's environment and nothing of this process's, with the shell's values put in."""
        told = self._compose["services"][name]["environment"]
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        base = {"PATH": path, "SECRETS_DIRECTORY": str(self._folder / "secrets")}
        passed = {key: self._shell[key] for key, value in told.items() if value is None and key in self._shell}
        own = {"METRICS_PORT": self.metrics_port(name), "METRICS_HOST": "127.0.0.1"} if "METRICS_PORT" in told else {}
        return base | passed | {key: self._filled(value) for key, value in told.items() if value is not None} | own

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
        "redis_password": secrets.token_urlsafe(24),
    }
    for name, value in given.items():
        (folder / name).write_text(value + "\n")
    bare = url._replace(password=None).render_as_string(hide_password=False)
    with redis_user(settings.redis_url, given["redis_password"]) as redis_url, open_supervisor() as supervisor:
        engine = Engine(compose, supervisor, tmp_path, {"DATABASE_URL": bare, "REDIS_URL": redis_url})
        engine._shell["PLAID_BASE_URL"] = engine.address(BANK)
        yield engine


@contextmanager
def redis_user(redis_url, password):
    """A user of the test's own, whose address names no password, as in the file."""
    name = f"u{secrets.token_hex(4)}"
    with Redis.from_url(redis_url) as admin:
        rights = {"keys": ["*"], "channels": ["*"], "categories": ["+@all"]}
        admin.acl_setuser(name, enabled=True, passwords=[f"+{password}"], **rights)
        try:
            yield make_url(redis_url)._replace(username=name, password=None).render_as_string(hide_password=False)
        finally:
            admin.acl_deluser(name)


def test_redis_takes_its_password_from_the_secret_and_shows_it_to_no_list_of_processes(compose, tmp_path):
    port, password = free_port(), secrets.token_urlsafe(24)
    (tmp_path / "redis_password").write_text(password + "\n")
    shell, flag, line = compose["services"]["redis"]["command"]
    line = line.replace("$$", "$").replace("/run/secrets", str(tmp_path))
    line = line.replace("valkey-server -", f"{Valkey._binary()} - --port {port} --dir {tmp_path}", 1)
    with open_supervisor() as supervisor:
        pid = supervisor.start("redis", [shell, flag, line], log=tmp_path / "redis.log")
        with Redis(port=port, password=password) as redis:
            supervisor.wait_ready("redis", lambda: answers(port) and redis.ping())
            assert redis.config_get("appendonly", "maxmemory-policy") == {
                "appendonly": "yes",
                "maxmemory-policy": "noeviction",
            }
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        shown = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
        assert password not in str([one.cmdline() for one in shown])


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
    for name in ("simulator", "web", "worker", "audit", "flower"):
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


def test_what_a_volume_brings_in_is_there_and_is_what_prometheus_and_grafana_look_for(compose):
    for name in MONITORING:
        part = compose["services"][name]
        assert part["profiles"] == ["monitoring"]
        brought = [volume.removesuffix(":ro").split(":") for volume in part["volumes"] if volume.startswith("./")]
        assert brought
        assert [source for source, _ in brought if not (ROOT / source).exists()] == []
    (provider,) = YAML(typ="safe").load(ROOT / "deploy/grafana/provisioning/dashboards/manna-sync.yml")["providers"]
    (source,) = YAML(typ="safe").load(ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    targets = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/manna-sync.json" in targets
    assert source["url"] == "http://prometheus:9090"
    assert json.loads(DASHBOARD.read_text())["templating"]["list"][0]["query"] == source["type"]


def test_workers_serve_their_metrics_where_prometheus_looks(compose):
    jobs = {job["job_name"]: job for job in YAML(typ="safe").load(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    (looked_up,) = jobs["manna-worker"]["dns_sd_configs"]
    for name in looked_up["names"]:
        told = compose["services"][name]["environment"]
        assert (told["METRICS_PORT"], told["METRICS_HOST"]) == (str(looked_up["port"]), "0.0.0.0")
    assert jobs["manna-web"]["static_configs"] == [{"targets": [f"web:{WEB}"]}]


def prometheus_configuration(engine, folder):
    """The deployed configuration, with this machine's ports in the place of containers' names, and more haste."""
    told = YAML(typ="safe").load(PROMETHEUS / "prometheus.yml")
    web, worker = told["scrape_configs"]
    web["static_configs"] = [{"targets": [engine.address(WEB).removeprefix("http://")]}]
    ports = [engine.metrics_port(name) for name in worker.pop("dns_sd_configs")[0]["names"]]
    worker["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    told["global"] |= {"scrape_interval": "500ms", "evaluation_interval": "1s"}
    told["rule_files"] = [str(PROMETHEUS / "alerts.yml")]
    path = folder / "prometheus.yml"
    with path.open("w") as file:
        YAML().dump(told, file)
    return path


def expressions():
    """Every question of the dashboard's and of the alerts', with the selectors that a series must exist for."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    (group,) = YAML(typ="safe").load(PROMETHEUS / "alerts.yml")["groups"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return asked, [rule["expr"] for rule in group["rules"]]


@pytest.mark.extras("prometheus")
@pytest.mark.timeout(180)
def test_prometheus_reaches_every_process_and_answers_every_question_of_dashboard_and_alerts(engine, tmp_path):
    for name in ("simulator", "web", "worker", "audit", "beat"):
        engine.start(name)
    for name in ("simulator", "web"):
        engine.wait_healthy(name)
    port = free_port()
    told = [f"--config.file={prometheus_configuration(engine, tmp_path)}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    argv = ["prometheus", *told, f"--web.listen-address=127.0.0.1:{port}"]
    engine._supervisor.start("prometheus", argv, log=tmp_path / "prometheus.log")
    asked = {"count": 2, "transactions": 30, "webhook": f"{engine.address(WEB)}/webhooks/plaid"}
    for item in httpx.post(f"{engine.address(BANK)}/control/items", json=asked).json()["items"]:
        add = ["manna", "items", "add", "--user", "u", "--item-id", item["item_id"]]
        subprocess.run(add, input=item["access_token"], env=engine.environment("web"), cwd=ROOT, text=True, check=True)

    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1") as prometheus:

        def ask(query):
            answer = prometheus.get("/query", params={"query": query})
            assert answer.json()["status"] == "success", (query, answer.text)
            return answer.json()["data"]["result"]

        def holds(query):
            try:
                return bool(ask(query))
            except httpx.TransportError:
                return False

        # Three processes, and what they counted.
        engine._supervisor.wait_ready("prometheus", lambda: holds("sum(up) == 3"))
        committed = 'sum(manna_syncs_total{outcome="succeeded"}) >= 2'
        engine._supervisor.wait_ready("prometheus", lambda: holds(committed))
        engine._supervisor.wait_ready("prometheus", lambda: holds("sum(manna_audit_events_sealed_total) > 0"))
        httpx.post(f"{engine.address(BANK)}/control/evolve", json={"added": 1, "announce": True}).raise_for_status()
        panels, alerts = expressions()
        telling = [query for query in panels if not any(name in query for name in EMPTY_WHILE_ALL_IS_WELL)]
        # The fleet's state is up to a quarter of a minute old.
        silent = list(telling)

        def all_tell():
            silent[:] = [query for query in silent if not holds(query)]
            return not silent

        with suppress(StackError):
            engine._supervisor.wait_ready("prometheus", all_tell)
        assert silent == []
        fires = [query for query in alerts if ask(query)]
        assert fires == []
        rules = prometheus.get("/rules").json()["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        assert len(rules) == len(alerts)
