"""How fast `/health` answers in bad times: behind 1,000 slow connections, and while PostgreSQL or Redis hangs.

Run as `python -m benchmarks.health [--connections 1000]`; prints one JSON line.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from benchmarks.web_process import Web, open_web, percentiles

ASK = b"GET /health HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
PACE_SECONDS, DRIBBLE_SECONDS, HANG_SECONDS = 0.05, 1.0, 5.0
SLOW = (
    (b"", b""),
    (b"GET / HTTP/1.1\r\nHost: b\r\n", b"X-A: a\r\n"),
    (b"POST /webhooks/plaid HTTP/1.1\r\nHost: b\r\nContent-Length: 60000\r\n\r\n", b"a"),
)


async def ask(port: int) -> tuple[float, str]:
    """Return how long `/health` took, from connecting to the last byte, and the status that it told."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    answer = await reader.read()
    took = time.perf_counter() - began
    writer.close()
    return took, str(json.loads(answer.partition(b"\r\n\r\n")[2])["status"])


async def slow(port: int, number: int) -> float:
    """Send a little each second until the server ends it; return how long that took."""
    beginning, more = SLOW[number % len(SLOW)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(beginning)
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        await asyncio.wait([ended], timeout=DRIBBLE_SECONDS)
        writer.write(more)
    ended.exception()
    writer.close()
    return time.perf_counter() - began


async def crowded(port: int, connections: int) -> dict[str, float]:
    """Return how `/health` fared until the last slow connection was gone, and how long that one lasted."""
    crowd = asyncio.gather(*(slow(port, number) for number in range(connections)))
    waits = []
    while not crowd.done():
        waits.append((await ask(port))[0])
        await asyncio.sleep(PACE_SECONDS)
    return {"connections": connections, "last_gone_seconds": round(max(await crowd), 1), **percentiles(waits)}


async def hung(port: int) -> dict[str, object]:
    """Return how `/health` fared for five seconds, and what it told in the end."""
    waits, until, status = [], time.perf_counter() + HANG_SECONDS, ""
    while time.perf_counter() < until:
        took, status = await ask(port)
        waits.append(took)
        await asyncio.sleep(PACE_SECONDS)
    return {"told": status, **percentiles(waits)}


@contextmanager
def stopped(web: Web, name: str) -> Iterator[None]:
    """Stop a server's processes where they stand: they keep their connections and answer nothing."""
    beside = psutil.Process(os.getpid()).children(recursive=True)
    server = [one for one in beside if one.pid != web.process.pid and one.name().startswith(name)]
    for one in server:
        one.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for one in server:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)


def health(connections: int = 1000) -> dict[str, dict[str, object]]:
    """Start everything and return the figures of each bad time."""
    with open_web(API_RATE_PER_MINUTE="1000000") as web:
        found: dict[str, dict[str, object]] = {"crowded": dict(asyncio.run(crowded(web.port, connections)))}
        for name, part in (("postgres", "postgres_hangs"), ("valkey", "redis_hangs")):
            with stopped(web, name):
                found[part] = asyncio.run(hung(web.port))
    return found


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    print(json.dumps(health(parser.parse_args().connections)))


if __name__ == "__main__":
    main()
