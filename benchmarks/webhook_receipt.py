"""How long a webhook waits until it is durable: a real web process on one core, signed webhooks at a steady rate.

Run as `python -m benchmarks.webhook_receipt [--rate 500] [--seconds 20] [--items 1000]`; prints one JSON line.
A request is sent when its time has come, whether or not earlier ones are answered, so a stall shows as what it costs.
"""

import argparse
import asyncio
import gc
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import asyncpg
import jwt
import psutil
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from core.encryption import EncryptionKeyProvider
from devstack.places import answers, free_port
from devstack.servers import open_servers

KID = "benchmark"
CONNECTIONS = 64
PRIVATE = ec.generate_private_key(ec.SECP256R1())
ADD_ITEMS = (
    "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token)"
    " SELECT gen_random_uuid(), 'u', 'itm' || n, 'sealed:v1:none' FROM generate_series(0, $1 - 1) AS n"
)


class KeyServer(BaseHTTPRequestHandler):
    """Answers as Plaid's webhook key endpoint, and nothing else."""

    def do_POST(self) -> None:
        """Answer with the benchmark's key."""
        key = json.loads(ECAlgorithm.to_jwk(PRIVATE.public_key()))
        body = json.dumps({"key": {**key, "alg": "ES256", "kid": KID, "use": "sig", "expired_at": None}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def request_of(number: int, items: int) -> bytes:
    """Return a whole signed request; equal webhooks of one second would be replays, so each has its number."""
    told = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "number": number}
    body = json.dumps({**told, "item_id": f"itm{number % items}", "environment": "sandbox"}, indent=2).encode()
    claims = {"iat": int(time.time()), "request_body_sha256": hashlib.sha256(body).hexdigest()}
    token = jwt.encode(claims, PRIVATE, algorithm="ES256", headers={"kid": KID})
    head = ["POST /webhooks/plaid HTTP/1.1", "Host: b", f"Plaid-Verification: {token}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


class Sender:
    """Keeps connections open, and hands one to whoever has a request to send."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self) -> None:
        """Connect."""
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))

    async def send(self, request: bytes, due: float) -> tuple[float, bool]:
        """Return the seconds from the moment it was due to the answer, and whether that was 200."""
        reader, writer = await self._free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        await reader.readexactly(length)
        self._free.put_nowait((reader, writer))
        return time.perf_counter() - due, head.startswith(b"HTTP/1.1 200")


async def load(port: int, rate: int, seconds: int, items: int) -> list[tuple[float, bool]]:
    """Send at the rate and return what became of each request."""
    requests = [request_of(number, items) for number in range(rate * seconds)]
    sender = Sender(port)
    await sender.open()
    await sender.send(request_of(-1, items), time.perf_counter())
    # The sender's own pauses would be told as the server's.
    gc.disable()
    begun, tasks = time.perf_counter(), []
    for number, request in enumerate(requests):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(sender.send(request, due)))
    return await asyncio.gather(*tasks)


def start_web(environment: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    """Start the web process on the machine's last core."""
    process = subprocess.Popen([sys.executable, "-m", "cli", "web", "--port", str(port)], env=environment)
    with suppress(AttributeError):
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    while not answers(port):
        if process.poll() is not None:
            raise SystemExit("the web process did not start")
        time.sleep(0.1)
    return process


async def measure(arguments: argparse.Namespace, database_url: str, port: int, web: psutil.Process) -> dict[str, float]:
    """Return the figures of one run."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(ADD_ITEMS, arguments.items)
    before = sum(web.cpu_times()[:2])
    results = await load(port, arguments.rate, arguments.seconds, arguments.items)
    cpu = sum(web.cpu_times()[:2]) - before
    kept = await connection.fetchval("SELECT count(*) FROM webhook_events") - 1
    await connection.close()
    waits = sorted(seconds * 1000 for seconds, _ in results)
    share = {f"p{part}": round(waits[len(waits) * part // 100], 1) for part in (50, 95, 99)}
    accepted = sum(ok for _, ok in results)
    return {
        "sent": len(results),
        "answered_200": accepted,
        "kept": kept,
        **{f"{name}_ms": value for name, value in share.items()},
        "max_ms": round(waits[-1], 1),
        "web_cpu_ms_each": round(cpu * 1000 / len(results), 2),
        "web_cores": round(cpu / arguments.seconds, 2),
    }


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--items", type=int, default=1000)
    arguments = parser.parse_args()
    keys = ThreadingHTTPServer(("127.0.0.1", 0), KeyServer)
    Thread(target=keys.serve_forever, daemon=True).start()
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
            "PLAID_BASE_URL": f"http://127.0.0.1:{keys.server_port}",
        }
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], env=environment, check=True)
        port = free_port()
        web = start_web(environment, port)
        try:
            print(json.dumps(asyncio.run(measure(arguments, servers.database_url, port, psutil.Process(web.pid)))))
        finally:
            web.terminate()
            web.wait()


if __name__ == "__main__":
    main()
