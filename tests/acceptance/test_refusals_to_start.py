"""What is wrong at start is told in one line that names it, with an exit code, and never by a traceback."""

import os
import re
import subprocess
import sys
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from devstack.places import free_port
from tests.conftest import ROOT
from worker.lifecycle import or_exit

CELERY = ["-m", "celery", "-A", "worker"]
COMMANDS = {
    "worker": [*CELERY, "worker", "-Q", "sync.webhook"],
    "prefork": [*CELERY, "worker", "-Q", "sync.webhook", "--pool", "prefork", "-c", "1"],
    "beat": [*CELERY, "beat", "-s"],
    "web": ["-m", "cli", "web", "--port", "0"],
    "manna": ["-m", "cli", "items", "list"],
}
# Celery's word to whoever runs it as root, which is true, and not what is looked for here.
NOT_AS_ROOT = "ignore:You're running the worker with superuser privileges"


def start(name, tmp_path):
    arguments = [*COMMANDS[name], str(tmp_path / "schedule")] if name == "beat" else COMMANDS[name]
    env = {**os.environ, "PYTHONWARNINGS": NOT_AS_ROOT}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False
    )


def one_line(done):
    """The only line on standard error, but for the one that beat begins with."""
    assert done.returncode != 0, done.stdout
    lines = [line for line in done.stderr.strip().splitlines() if "beat: Starting" not in line]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    return lines[0]


@pytest.mark.parametrize("name", ["worker", "prefork", "web", "manna"])
def test_production_without_an_encryption_key(settings, monkeypatch, tmp_path, name):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    monkeypatch.delenv("MANNA_ENCRYPTION_KEY")
    said = one_line(start(name, tmp_path))
    assert said.startswith("manna: Encryption not initialized: set MANNA_ENCRYPTION_KEY to 32 bytes in base64url")


@pytest.mark.parametrize("name", ["worker", "beat", "web", "manna"])
def test_an_address_that_is_none_of_postgresql(settings, monkeypatch, tmp_path, name):
    monkeypatch.setenv("DATABASE_URL", "mysql://app:hunter2@localhost/manna")
    said = one_line(start(name, tmp_path))
    assert said == "manna: DATABASE_URL is not for PostgreSQL; accepted is postgresql://user@host:port/name"


@pytest.mark.parametrize("name", ["worker", "web", "manna"])
def test_a_database_that_does_not_exist(settings, monkeypatch, tmp_path, name):
    monkeypatch.setenv("DATABASE_URL", settings.database_url + "_gone")
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "0.5")
    said = one_line(start(name, tmp_path))
    assert said.startswith("manna: PostgreSQL at postgresql://")
    assert "_gone" in said


@pytest.fixture
async def nobody(settings):
    """A role that may log in, and nothing else."""
    url = make_url(settings.database_url)._replace(username=f"m{uuid4().hex[:12]}", password="hunter2")
    admin = await asyncpg.connect(settings.database_url)
    await admin.execute(f"CREATE ROLE {url.username} LOGIN PASSWORD '{url.password}'")
    yield url.render_as_string(hide_password=False)
    await admin.execute(f"DROP ROLE {url.username}")
    await admin.close()


@pytest.mark.parametrize("name", ["worker", "web"])
def test_a_log_in_without_rights(nobody, monkeypatch, tmp_path, name):
    monkeypatch.setenv("DATABASE_URL", nobody)
    said = one_line(start(name, tmp_path))
    assert said == "manna: the log-in has no rights on the tables: run manna security setup-database"


def test_what_nobody_foresaw_ends_a_worker_and_tells_no_value(capsys):
    secret = "hunter" + "2"

    def start():
        raise LookupError(secret)

    with pytest.raises(SystemExit, match=r"^manna: cannot start: LookupError$"):
        or_exit(start)
    told = capsys.readouterr().err
    assert "in start" in told
    assert secret not in told


@pytest.mark.parametrize("name", ["worker", "beat", "web", "manna"])
def test_redis_away(settings, monkeypatch, tmp_path, name):
    where = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("REDIS_URL", f"redis://:hunter2@{where}/0")
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "0.5")
    said = one_line(start(name, tmp_path))
    assert re.match(rf"manna: Redis at redis://\S*{where}/0 is not reachable", said)


@pytest.mark.parametrize("name", ["worker", "prefork", "web", "manna"])
def test_postgresql_away(settings, monkeypatch, tmp_path, name):
    where = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://manna:hunter2@{where}/manna")
    monkeypatch.setenv("CONNECT_TIMEOUT_SECONDS", "0.5")
    said = one_line(start(name, tmp_path))
    assert re.match(rf"manna: PostgreSQL at postgresql://\S*{where}/manna is not reachable", said)
