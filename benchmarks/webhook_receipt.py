"""How long a webhook waits until it is durable: a real web process on one core, signed webhooks at a steady rate.

Run as `python -m benchmarks.webhook_receipt [--rate 500] [--seconds 20] [--items 1000]`; prints one JSON line.
A request is sent when its time has come, whether or not earlier ones are answered, so a stall shows as what it costs.
"""

import argparse
import asyncio
import gc
import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import asyncpg
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from benchmarks.web_process import Web, open_web, percentiles

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


async def measure(rate: int, seconds: int, items: int, web: Web) -> dict[str, float]:
    """Return the figures of one run."""
    connection = await asyncpg.connect(web.servers.database_url)
    await connection.execute(ADD_ITEMS, items)
    before = sum(web.process.cpu_times()[:2])
    results = await load(web.port, rate, seconds, items)
    cpu = sum(web.process.cpu_times()[:2]) - before
    kept = await connection.fetchval("SELECT count(*) FROM webhook_events") - 1
    await connection.close()
    return {
        "rate": rate,
        "sent": len(results),
        "answered_200": sum(ok for _, ok in results),
        "kept": kept,
        **percentiles([seconds for seconds, _ in results]),
        "web_cpu_ms_each": round(cpu * 1000 / len(results), 2),
        "web_cores": round(cpu / seconds, 2),
        "web_on_core": web.core,
    }


def receipt(rate: int = 500, seconds: int = 20, items: int = 1000) -> dict[str, float]:
    """Start everything and return the figures; one of its cores is the web process's, the rest is everybody's."""
    keys = ThreadingHTTPServer(("127.0.0.1", 0), KeyServer)
    Thread(target=keys.serve_forever, daemon=True).start()
    with open_web(f"http://127.0.0.1:{keys.server_port}") as web:
        return asyncio.run(measure(rate, seconds, items, web))


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--items", type=int, default=1000)
    arguments = parser.parse_args()
    print(json.dumps(receipt(arguments.rate, arguments.seconds, arguments.items)))


if __name__ == "__main__":
    main()
