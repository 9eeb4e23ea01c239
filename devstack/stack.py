"""The whole service on real servers: simulator, web, worker, audit consumer, beat, Flower under one supervisor."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from core.encryption import EncryptionKeyProvider
from devstack.errors import StackError
from devstack.places import answers, free_port
from devstack.processes import ROOT
from devstack.servers import Servers, open_servers

SYNC_QUEUES = "sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance"
CELERY = [sys.executable, "-m", "celery", "-A", "worker"]
QUIET = ["--without-gossip", "--without-mingle"]
CLIENT_ID = "sandbox-client"


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack's addresses, and the environment in which commands reach it."""

    servers: Servers
    simulator_url: str
    web_url: str
    flower_url: str | None
    environment: dict[str, str] = field(repr=False)

    def run(self, *argv: str, given: str = "") -> str:
        """Run a Python module's command in the stack's environment and return what it printed."""
        return _run(self.environment, *argv, given=given)


@contextmanager
def open_stack(*, with_flower: bool = False) -> Iterator[Stack]:
    """Start everything, ready to take Items, and end all of it at the end.

    Raises:
        StackError: a part did not start; one line says which and why.
    """
    with open_servers(durable=True) as servers:
        simulator_url = _start_simulator(servers)
        port = free_port()
        environment = _environment(servers, simulator_url, port)
        _run(environment, "alembic", "upgrade", "head")
        web_url = _start_services(servers, environment, port)
        flower_url = _start_flower(servers, environment) if with_flower else None
        yield Stack(servers, simulator_url, web_url, flower_url, environment)


def link_items(stack: Stack, items: int, transactions: int) -> list[str]:
    """Link Items at the simulated bank, hand them to the service as an operator would, and return Plaid's ids."""
    asked = {"count": items, "transactions": transactions, "webhook": f"{stack.web_url}/webhooks/plaid"}
    linked = httpx.post(f"{stack.simulator_url}/control/items", json=asked, timeout=60).json()["items"]
    lines = ({"user_id": "demo", "plaid_item_id": i["item_id"], "access_token": i["access_token"]} for i in linked)
    stack.run("cli", "items", "import", "-", given="\n".join(map(json.dumps, lines)))
    return [item["item_id"] for item in linked]


def _start_services(servers: Servers, environment: dict[str, str], port: int) -> str:
    """Start them all before waiting for any: they load side by side. Return the web's address."""
    _start(servers, "worker", [*CELERY, "worker", "-Q", SYNC_QUEUES, *QUIET, "-n", "sync@%h"], environment)
    _start(servers, "audit", [*CELERY, "worker", "-Q", "audit", *QUIET, "-n", "audit@%h"], environment)
    _start(servers, "web", [sys.executable, "-m", "cli", "web", "--port", str(port)], environment)
    _start(servers, "beat", [*CELERY, "beat", "-s", str(servers.directory / "beat-schedule")], environment)
    for name, word in (("worker", "ready"), ("audit", "ready"), ("beat", "Starting")):
        servers.supervisor.wait_ready(name, _said(servers, name, word))
    servers.supervisor.wait_ready("web", lambda: answers(port))
    return f"http://127.0.0.1:{port}"


def _start_flower(servers: Servers, environment: dict[str, str]) -> str:
    port = free_port()
    _start(servers, "flower", [*CELERY, "flower", "--address=127.0.0.1", f"--port={port}"], environment)
    servers.supervisor.wait_ready("flower", lambda: answers(port))
    return f"http://127.0.0.1:{port}"


def _start(servers: Servers, name: str, argv: list[str], environment: dict[str, str]) -> None:
    servers.supervisor.start(name, argv, log=servers.directory / f"{name}.log", env=environment)


def _said(servers: Servers, name: str, word: str) -> Callable[[], bool]:
    log = servers.directory / f"{name}.log"
    return lambda: word in log.read_text(errors="replace")


def _start_simulator(servers: Servers) -> str:
    _start(servers, "simulator", [sys.executable, "-m", "simulator"], dict(os.environ))
    servers.supervisor.wait_ready("simulator", _said(servers, "simulator", "listening"))
    found = re.search(r"http://\S+", (servers.directory / "simulator.log").read_text())
    if found is None:
        raise StackError("the simulator did not say where it listens")
    return found[0]


def _environment(servers: Servers, simulator_url: str, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "MANNA_ENVIRONMENT": "development",
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
        "JWT_SIGNING_KEY": secrets.token_urlsafe(32),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PLAID_CLIENT_ID": CLIENT_ID,
        "PLAID_SECRET": "sandbox-secret",
        "PLAID_ENV": "sandbox",
        "PLAID_BASE_URL": simulator_url,
        # The simulator enforces none unless it is told to.
        "PLAID_RATE_PER_ITEM_PER_MINUTE": "1000000",
        "PLAID_RATE_PER_CLIENT_PER_MINUTE": "1000000",
        # As in the image: an arena a thread would cost a third more memory.
        "MALLOC_ARENA_MAX": "2",
    }


def _run(environment: dict[str, str], *argv: str, given: str = "") -> str:
    command = [sys.executable, "-m", *argv]
    done = subprocess.run(command, cwd=ROOT, env=environment, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"{argv[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout
