"""How many full pages of /transactions/sync the simulator serves a second on one core.

Run as `python benchmarks/simulator_pages.py [--seconds 10]`: it starts a simulator that is held to one core, pages
through an Item of 100,000 transactions again and again over a few connections, and prints pages per second, by the
clock and by the simulator's own CPU time; the second one does not depend on what else the machine is doing.
"""

import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread

import httpx
import msgspec
import psutil

TRANSACTIONS, COUNT = 100_000, 500
HEADERS = "PLAID-CLIENT-ID: sandbox-client\r\nPLAID-SECRET: sandbox-secret\r\nContent-Type: application/json\r\n"


class Tail(msgspec.Struct):
    """What a reader of pages needs of one."""

    next_cursor: str
    has_more: bool


@dataclass
class Tally:
    """What one connection has read."""

    pages: int = 0
    size: int = 0


@contextlib.contextmanager
def simulator() -> Iterator[tuple[psutil.Process, str]]:
    """Start a simulator on one core, the last one, and end it afterwards."""
    pin = getattr(os, "sched_setaffinity", None)
    cores = sorted(os.sched_getaffinity(0)) if pin else []
    command = [sys.executable, "-m", "simulator", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if pin:
                pin(process.pid, {cores[-1]})
                pin(0, set(cores[:-1]) or set(cores))
            said = process.stdout.readline() if process.stdout else ""
            yield psutil.Process(process.pid), re.findall(r"http://\S+", said)[0]
        finally:
            process.terminate()


def read_pages(url: str, token: str, until: float, tally: Tally) -> None:
    """Page through the Item, from the start again after the last page, until the time is over."""
    host, port = url.removeprefix("http://").split(":")
    cursor = ""
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answers:
        while time.monotonic() < until:
            asked = msgspec.json.encode({"access_token": token, "cursor": cursor, "count": COUNT})
            head = f"POST /transactions/sync HTTP/1.1\r\nHost: {host}\r\n{HEADERS}Content-Length: {len(asked)}\r\n\r\n"
            connection.sendall(head.encode() + asked)
            body = answers.read(_length(iter(answers.readline, b"\r\n")))
            # The end of the page, which is not decoded whole: the reader shall not be what is measured.
            tail = msgspec.json.decode(b"{" + body[body.rindex(b'"has_more"') :], type=Tail)
            cursor = tail.next_cursor if tail.has_more else ""
            tally.pages += 1
            tally.size += len(body)


def _length(lines: Iterator[bytes]) -> int:
    return next(int(line.split(b":")[1]) for line in list(lines) if line.lower().startswith(b"content-length"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=4)
    chosen = parser.parse_args()
    with simulator() as (process, url):
        began = time.monotonic()
        asked = {"transactions": TRANSACTIONS}
        token = httpx.post(f"{url}/control/items", json=asked, timeout=120).json()["items"][0]["access_token"]
        print(f"an Item of {TRANSACTIONS:,} transactions linked in {time.monotonic() - began:.1f} s")
        print(f"memory of the simulator: {process.memory_info().rss / 2**20:.0f} MiB")
        tallies = [Tally() for _ in range(chosen.connections)]
        began, before = time.monotonic(), sum(process.cpu_times()[:2])
        readers = [Thread(target=read_pages, args=(url, token, began + chosen.seconds, tally)) for tally in tallies]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        seconds, cpu = time.monotonic() - began, sum(process.cpu_times()[:2]) - before
        pages = sum(tally.pages for tally in tallies)
        size = sum(tally.size for tally in tallies) / pages
        print(f"{pages:,} pages of {COUNT} transactions, {size / 1000:,.0f} kB each, {chosen.connections} connections")
        print(f"{pages / seconds:,.0f} pages/s by the clock, {pages / cpu:,.0f} pages/s of CPU time")
        print(f"memory of the simulator: {process.memory_info().rss / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
