"""E11: secrets are planted in the whole service, which then works, fails and recovers; none shows anywhere."""

import asyncio
import base64
import io
import json
import os
import re
import secrets
import subprocess
import sys
from urllib.parse import quote

import asyncpg
import httpx
import psutil
import pytest
from redis import Redis
from sqlalchemy import make_url

from core.database_roles import scram_verifier
from core.encryption import EncryptionKeyProvider
from core.encryption.cipher import context_of
from core.encryption.keyring import Keyring
from core.encryption.provider import parse_key
from devstack.places import answers, free_port
from devstack.processes import open_supervisor
from devstack.valkey import Valkey
from tests.acceptance.canaries import Canary, find
from tests.conftest import ROOT

CELERY = [sys.executable, "-m", "celery", "-A", "worker"]
SYNC_QUEUES = "sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance"
QUIET = ["--without-gossip", "--without-mingle"]
REFUSAL = "PRODUCTS_NOT_SUPPORTED"
FLOWER_PAGES = ("/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers?refresh=1", "/api/tasks?limit=1000")
CONSOLE_PAGES = ("", "/items", "/runs", "/replays", "/audit")
READS = {"string": "get", "list": "lrange", "set": "smembers", "zset": "zrange", "hash": "hgetall", "stream": "xrange"}
RANGES = {"list": (0, -1), "zset": (0, -1)}


class Service:
    """Every process of the service, with a canary for each of its secrets, and all that it ever said."""

    def __init__(self, supervisor, directory, database_url):
        self.supervisor, self.directory = supervisor, directory
        self.pids, self.said, self.canaries = {}, {}, []
        self.valkey = Valkey(supervisor, directory, durable=True)
        self.admin = make_url(database_url)
        self.role = f"canary_{secrets.token_hex(6)}"
        # Letters that an address has to quote, so that a quoted password is looked for as well.
        database_password = f"Db+{secrets.token_urlsafe(18)}/@:x"
        self.key, self.next_key = (EncryptionKeyProvider.generate_key() for _ in range(2))
        self.database_password = self.planted("database password", database_password)
        self.environment = {
            **os.environ,
            "MANNA_ENVIRONMENT": "test",
            "SECRETS_PROVIDER": "file,env",
            "SECRETS_DIRECTORY": str(directory),
            "SECRETS_REFRESH_SECONDS": "1",
            "KEYRING_REFRESH_SECONDS": "0.5",
            "DATABASE_URL": self.admin.set(username=self.role)._replace(password=None).render_as_string(),
            "DATABASE_PASSWORD": database_password,
            "REDIS_URL": self.valkey.url,
            "JWT_SIGNING_KEY": self.planted("JWT key", secrets.token_urlsafe(32)),
            "PLAID_SECRET": self.planted("Plaid's secret", secrets.token_urlsafe(24)),
            "AUDIT_SIGNING_KEY": self.planted("audit signing key", EncryptionKeyProvider.generate_key()),
            "PLAID_CLIENT_ID": "sandbox-client",
            "PLAID_RATE_PER_ITEM_PER_MINUTE": "1000000",
            "PLAID_RATE_PER_CLIENT_PER_MINUTE": "1000000",
            "FLOWER_UNAUTHENTICATED_API": "true",
        }
        for name, secret in (("key", self.key), ("next key", self.next_key), ("Redis password", self.valkey.password)):
            self.planted(name, secret)
        self.give("encryption_key", self.key)

    def planted(self, name, secret):
        self.canaries.append(Canary(name, secret.encode()))
        return secret

    def give(self, name, secret):
        """Write a secret's file as an orchestrator does: the new one is there at once, whole."""
        fresh = self.directory / f".{name}"
        fresh.touch(mode=0o600)
        fresh.write_text(secret)
        fresh.replace(self.directory / name)

    def start(self, name, argv, ready, **environment):
        log = self.directory / f"{name}.log"
        env = {**self.environment, **environment}
        self.pids[name] = self.supervisor.start(name, argv, log=log, env=env)
        self.supervisor.wait_ready(name, lambda: ready(log.read_text(errors="replace")))
        return log.read_text()

    def run(self, *argv, given="", code=0, **environment):
        env = {**self.environment, **environment}
        command = [sys.executable, "-m", *argv]
        done = subprocess.run(command, cwd=ROOT, env=env, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        if argv[:3] != ("cli", "tokens", "issue"):  # which prints one on purpose
            self.said[f"output {len(self.said)} of {' '.join(argv)[:60]}"] = (done.stdout + done.stderr).encode()
        return done.stdout

    def manna(self, *arguments, **options):
        return self.run("cli", *arguments, **options)

    def ask(self, path, /, **fields):
        answer = httpx.post(self.simulator + path, json=fields, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def open(self):
        """Start everything; all of it is ready when this returns."""
        self.valkey.start()
        with Redis.from_url(self.valkey.url) as redis:
            redis.config_set("rdbcompression", "no")
        bank = [sys.executable, "-m", "simulator", "--secret", self.environment["PLAID_SECRET"]]
        said = self.start("simulator", bank, lambda text: "listening" in text)
        self.simulator = re.search(r"http://\S+", said)[0]
        ports = {name: free_port() for name in ("web", "flower", "worker", "audit")}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.environment |= {"PLAID_BASE_URL": self.simulator, "PUBLIC_URL": self.urls["web"]}
        for name, queues in (("worker", SYNC_QUEUES), ("audit", "audit")):
            argv = [*CELERY, "worker", "-E", "-Q", queues, *QUIET, "-n", f"{name}@%h"]
            self.start(name, argv, lambda text: "ready" in text, METRICS_PORT=str(ports[name]))
        web = [sys.executable, "-m", "cli", "web", "--port", str(ports["web"])]
        self.start("web", web, lambda _: answers(ports["web"]))
        flower = [*CELERY, "flower", "--address=127.0.0.1", f"--port={ports['flower']}"]
        self.start("flower", flower, lambda _: answers(ports["flower"]))
        beat = [*CELERY, "beat", "-s", str(self.directory / "schedule")]
        self.start("beat", beat, lambda text: "beat: Starting" in text)
        scopes = ("items:read", "items:write", "syncs:read", "syncs:replay", "audit:read")
        issued = self.manna(
            "tokens",
            "issue",
            "--subject",
            "canary",
            "--ttl",
            "1h",
            *(word for one in scopes for word in ("--scope", one)),
        )
        self.token = self.planted("API token", issued.strip())
        self.client = httpx.Client(base_url=self.urls["web"], headers={"Authorization": f"Bearer {self.token}"})


@pytest.fixture
async def role_of(settings):
    """Make a role for the service, and take it away when the service has ended."""
    admin, made = await asyncpg.connect(settings.database_url), []

    async def make(name, password):
        verifier = scram_verifier(password, os.urandom(16))
        await admin.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{verifier}'")
        made.append(name)

    yield make
    for name in made:
        await admin.execute(f"DROP ROLE {name}")
    await admin.close()


@pytest.fixture
async def service(settings, tmp_path, role_of):
    with open_supervisor() as supervisor:
        service = Service(supervisor, tmp_path, settings.database_url)
        await role_of(service.role, service.database_password)
        await asyncio.to_thread(service.open)
        yield service
        service.client.close()


@pytest.fixture
async def connection(settings):
    opened = await asyncpg.connect(settings.database_url)
    yield opened
    await opened.close()


async def until(connection, question):
    while not await connection.fetchval(question):
        # The database itself waits a little: no client sleeps, and the test's time-out bounds it.
        await connection.execute("SELECT pg_sleep(0.05)")


def link(service):
    """Link one Item through Link and the API, and hand two more over as an operator does."""
    opened = service.client.post("/api/v1/link-token", json={"user_id": "u"})
    assert opened.status_code == 201, opened.text
    link_token = service.planted("link token", opened.json()["link_token"])
    done = service.ask("/control/link", link_token=link_token, institution_id="ins_109508", transactions=20)
    public = service.planted("public token", done["public_token"])
    created = service.client.post("/api/v1/items", json={"user_id": "u", "public_token": public})
    assert created.status_code == 201, created.text
    hook = f"{service.urls['web']}/webhooks/plaid"
    linked = service.ask("/control/items", count=2, transactions=20, webhook=hook)["items"]
    lines = [
        json.dumps({"user_id": "v", "plaid_item_id": one["item_id"], "access_token": one["access_token"]})
        for one in linked
    ]
    service.manna("items", "import", "-", given="\n".join(lines))
    return [done, *linked]


async def fail(service, connection, items):
    """Fail at Plaid, by an answer cut short, and in the database: in tasks and in the web."""
    wrong = service.ask("/control/faults", kind="error", error_code=REFUSAL, times=None, item_id=items[1]["item_id"])
    service.ask("/control/faults", kind="truncate", path="/transactions/sync", bytes=20, item_id=items[2]["item_id"])
    service.manna("items", "sync", "--all")
    await until(connection, f"SELECT count(*) > 0 FROM sync_runs WHERE error_code = '{REFUSAL}'")
    service.ask("/control/faults/clear", fault_ids=[wrong["fault_id"]])

    await connection.execute("ALTER TABLE transactions RENAME TO elsewhere")
    service.ask("/control/evolve", added=3, announce=True)
    service.manna("items", "sync", "--all")
    await until(connection, "SELECT count(*) > 0 FROM sync_runs WHERE error_type = 'UNEXPECTED'")
    first = await connection.fetchval("SELECT id FROM plaid_items LIMIT 1")
    assert service.client.get(f"/api/v1/items/{first}/transactions").status_code == 503
    await connection.execute("ALTER TABLE elsewhere RENAME TO transactions")


def refuse(service):
    """Be refused in every way: a message, a webhook, a caller, a body, a missing key, a server that is away."""
    for arguments in ({"item_id": "none"}, {"token": "none"}):
        service.run(
            "celery", "-A", "worker", "call", "sync.item", "--kwargs", json.dumps(arguments), "--queue", "maintenance"
        )
    refused = {"Plaid-Verification": service.token, "Authorization": f"Bearer {service.token}x"}
    assert httpx.post(f"{service.urls['web']}/webhooks/plaid", json={}, headers=refused).status_code == 401
    assert httpx.get(f"{service.urls['web']}/api/v1/items", headers=refused).status_code == 401
    assert service.client.post("/api/v1/items", json={"public_token": 7}).status_code == 422
    service.manna("items", "list", code=1, MANNA_ENCRYPTION_KEY="", SECRETS_PROVIDER="env")
    service.manna(
        "items",
        "list",
        code=1,
        REDIS_URL=service.valkey.url.replace(f":{service.valkey.port}/", ":1/"),
        CONNECT_TIMEOUT_SECONDS="1",
    )


async def recover(service, connection):
    """Replay what failed, then rotate the encryption key and one access token while everything runs."""
    service.manna("syncs", "replay", "--error-code", REFUSAL, "--rate", "6000/min", "--wait")
    service.give("encryption_keys_previous", service.key)
    service.give("encryption_key", service.next_key)
    waiting = Keyring.of(parse_key("key", service.next_key)).wanted
    known = f"SELECT count(*) >= 3 AND bool_and('{waiting}' = ANY(key_ids)) FROM keyring_reports"
    await until(connection, f"{known} WHERE reported_at > now() - interval '3 seconds'")
    assert "0 rows under the old key" in service.manna("keys", "rotate")
    first = await connection.fetchval("SELECT id FROM plaid_items ORDER BY id LIMIT 1")
    service.manna("keys", "rotate-token", str(first))
    service.manna("items", "sync", "--all", "--wait")
    await until(connection, "SELECT count(*) = 0 FROM audit_outbox")
    service.manna("audit", "verify", "--json")
    service.manna("audit", "export", "--format", "ocsf")


async def plant_access_tokens(connection, service, key):
    """Take the access tokens that are valid now for canaries."""
    keyring, known = Keyring.of(parse_key("key", key)), {canary.secret for canary in service.canaries}
    for row in await connection.fetch("SELECT id, plaid_access_token FROM plaid_items"):
        place = context_of("plaid_items", "plaid_access_token", row["id"])
        token = keyring.open(row["plaid_access_token"], place)
        if token.encode() not in known:
            service.planted(f"access token …{token[-4:]}", token)


def over_http(service):
    """Return every page and answer of the service that a person, Prometheus or Flower reads."""
    found = {}
    with httpx.Client(timeout=30) as client:
        for path in FLOWER_PAGES:
            found[f"Flower {path}"] = client.get(service.urls["flower"] + path).content
        for name in json.loads(found["Flower /api/workers?refresh=1"]):
            found[f"Flower worker {name}"] = client.get(f"{service.urls['flower']}/worker/{quote(name)}").content
        for task in json.loads(found["Flower /api/tasks?limit=1000"]):
            found[f"Flower task {task}"] = client.get(f"{service.urls['flower']}/task/{task}").content
        for name in ("worker", "audit", "web"):
            found[f"metrics of {name}"] = client.get(f"{service.urls[name]}/metrics").content
        for path in ("/health", "/health/ready", "/openapi.json", "/docs"):
            found[f"web {path}"] = client.get(service.urls["web"] + path).content
        assert client.post(f"{service.urls['web']}/console/login", data={"token": service.token}).status_code == 303
        for path in CONSOLE_PAGES:
            page = client.get(f"{service.urls['web']}/console{path}")
            assert page.status_code == 200, path
            found[f"console {path}"] = page.content
    for path in ("/health", "/api/v1/items", "/api/v1/syncs", "/api/v1/audit-events", "/api/v1/webhook-events"):
        found[f"API {path}"] = service.client.get(path).content
    assert len([place for place in found if place.startswith("Flower task")]) > 3
    return found


async def of_database(connection):
    """Return every table as COPY writes it, and what its sessions last asked."""
    tables = await connection.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    found = {}
    for (name,) in [*tables, ("pg_stat_activity",)]:
        written = io.BytesIO()
        await connection.copy_from_query(f"SELECT * FROM {name}", output=written)
        found[f"table {name}"] = written.getvalue()
    assert b"sealed:v1:" in found["table public.plaid_items"]
    return found


def of_redis(service):
    """Return every key's value, the snapshot, and the file of every write that there ever was."""
    found = {}
    with Redis.from_url(service.valkey.url) as redis:
        redis.save()
        for key in redis.scan_iter(count=1000):
            kind = redis.type(key).decode()
            read = getattr(redis, READS[kind])
            found[f"Redis {key.decode(errors='replace')}"] = key + repr(read(key, *RANGES.get(kind, ()))).encode()
        found["Redis ACL LOG"] = repr(redis.acl_log()).encode()
    for file in (service.directory / "valkey").rglob("*"):
        if file.is_file() and file.name != "valkey.conf":
            found[f"Redis file {file.name}"] = file.read_bytes()
    assert any(b"sync.item" in content for place, content in found.items() if ".aof" in place)
    return found


def of_processes(service):
    """Return what each process has written, and how the system lists it."""
    ours = {name: pid for name, pid in service.pids.items() if name != "simulator"}
    found = dict(service.said)
    for name, pid in ours.items():
        found[f"log of {name}"] = (service.directory / f"{name}.log").read_bytes()
        found[f"command line of {name}"] = "\0".join(psutil.Process(pid).cmdline()).encode()
    found["log of valkey"] = (service.directory / "valkey.log").read_bytes()
    assert found["log of worker"].count(b"Traceback") >= 1
    return found


async def places(service, connection):
    pages = await asyncio.to_thread(over_http, service)
    return {**of_processes(service), **pages, **await of_database(connection), **of_redis(service)}


async def test_no_planted_secret_shows_anywhere(service, connection):
    items = await asyncio.to_thread(link, service)
    await plant_access_tokens(connection, service, service.key)
    await until(connection, "SELECT count(*) = 3 FROM plaid_items WHERE version > 0")
    service.ask("/control/evolve", added=5, modified=2, removed=1, announce=True)
    await until(connection, "SELECT count(*) > 0 FROM sync_runs WHERE trigger = 'webhook' AND status = 'succeeded'")
    await fail(service, connection, items)
    await asyncio.to_thread(refuse, service)
    await recover(service, connection)
    await plant_access_tokens(connection, service, service.next_key)
    assert len([canary for canary in service.canaries if canary.secret.startswith(b"access-")]) == 4
    assert find(service.canaries, await places(service, connection)) == []

    # The same search finds what is there: a secret hidden in a table, in Redis and in a log, each in another form.
    hidden = {canary.name: canary.secret for canary in service.canaries}
    await connection.execute("UPDATE sync_runs SET error_code = $1", hidden["Plaid's secret"].hex())
    with Redis.from_url(service.valkey.url) as redis:
        redis.set("hidden", hidden["JWT key"][::-1])
    with (service.directory / "worker.log").open("ab") as log:
        log.write(hidden["key"][: len(hidden["key"]) // 2])
    found = {(place, name) for place, name, _ in find(service.canaries, await places(service, connection))}
    assert {
        ("table public.sync_runs", "Plaid's secret"),
        ("Redis hidden", "JWT key"),
        ("log of worker", "key"),
    } <= found


@pytest.mark.parametrize(
    "secret",
    ["access-sandbox-8c1f9e4e-70b2-4e0f-a1c5-0d6c1f3b2a11", EncryptionKeyProvider.generate_key()],
    ids=["token", "key"],
)
def test_every_form_of_a_secret_is_found_and_of_no_other(secret):
    canary, other = Canary("it", secret.encode()), Canary("other", secrets.token_urlsafe(40).encode())
    for kind, form in canary.forms():
        assert {name for _, name, _ in find([canary, other], {"log": b"before" + form + b"after"})} == {"it"}, kind
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + secret.encode() + b"yz")
        assert find([canary], {"log": encoded}), offset
