"""A real web process on the machine's last core, on servers of its own that live through a crash."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from core.encryption import EncryptionKeyProvider
from devstack.places import answers, free_port
from devstack.servers import Servers, open_servers

# Nobody listens there: whoever needs Plaid says where it is.
NO_PLAID = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Web:
    """The process, its port, the core that it has to itself, and its servers, which run on the others."""

    process: psutil.Process
    port: int
    core: int
    servers: Servers


@contextmanager
def open_web(plaid_url: str = NO_PLAID, **settings: str) -> Iterator[Web]:
    """Start servers and web process, and end them at the end."""
    with open_servers(durable=True) as servers:
        environment = {
            **os.environ,
            "MANNA_ENVIRONMENT": "test",
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
            "JWT_SIGNING_KEY": secrets.token_urlsafe(32),
            "PLAID_CLIENT_ID": "benchmark",
            "PLAID_SECRET": "benchmark",
            "PLAID_BASE_URL": plaid_url,
            **settings,
        }
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], env=environment, check=True)
        port, core = free_port(), max(range(os.cpu_count() or 1))
        web = subprocess.Popen([sys.executable, "-m", "cli", "web", "--port", str(port)], env=environment)
        try:
            with suppress(AttributeError):
                core = max(os.sched_getaffinity(0))
                os.sched_setaffinity(web.pid, {core})
            _wait_for(web, port)
            yield Web(psutil.Process(web.pid), port, core, servers)
        finally:
            web.terminate()
            web.wait()


def _wait_for(web: "subprocess.Popen[bytes]", port: int) -> None:
    while not answers(port):
        if web.poll() is not None:
            raise SystemExit("the web process did not start")
        time.sleep(0.1)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the highest, in ms."""
    waits = sorted(seconds)
    found = {f"p{part}_ms": round(waits[len(waits) * part // 100] * 1000, 1) for part in (50, 95, 99)}
    return {**found, "max_ms": round(waits[-1] * 1000, 1)}
