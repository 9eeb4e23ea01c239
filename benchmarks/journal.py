"""What the page journal costs: bytes kept and milliseconds spent for a full page of 500 transactions.

    python benchmarks/journal.py [--pages 40]

Pages are the simulator's. Compression and sealing are measured as CPU time, by page; `record_pages` and its way back by
the clock, on a durable PostgreSQL, for an update of one page and for one of all of them.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx

from benchmarks.ground import ROOT
from benchmarks.simulator_pages import simulator
from core.encryption import EncryptionKeyProvider
from core.encryption.keyring import current_keyring
from core.identity import new_id
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.plaid.schemas import decode_page
from core.resources import Resources, open_resources
from core.settings import load_settings
from core.sync.journal import COMPRESSION, Place, read_pages, record_pages
from core.sync.pages import Pages
from core.sync.runs import OpenRun, open_run
from devstack.servers import open_servers

ROUNDS = 10
CONTEXT = b"a place"


def fetched(count: int) -> list[bytes]:
    """Return so many full pages of the simulator's."""
    bodies: list[bytes] = []
    with simulator() as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        item = client.post("/control/items", json={"transactions": count * 500}).json()["items"][0]
        keys = {"client_id": "sandbox-client", "secret": "sandbox-secret", "count": 500}
        cursor = ""
        while len(bodies) < count:
            asked = keys | {"access_token": item["access_token"], "cursor": cursor}
            bodies.append(client.post("/transactions/sync", json=asked).content)
            cursor = decode_page(bodies[-1])[0].next_cursor or ""
    return bodies


def cpu_ms(one: Callable[[bytes], object], bodies: list[bytes]) -> float:
    """Return the median CPU milliseconds of a call."""
    spent = []
    for body in bodies:
        began = time.process_time()
        one(body)
        spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent)


def as_pages(bodies: list[bytes]) -> Pages:
    """Return an update of these bodies."""
    pages = Pages()
    for body in bodies:
        page, clean, _ = decode_page(body)
        pages.append(clean, page)
    return pages


async def clock_ms(resources: Resources, bodies: list[bytes]) -> tuple[float, float]:
    """Return the median milliseconds of keeping an update and of reading it back."""
    kept, read = [], []
    for _ in range(ROUNDS):
        new = NewItem("u", str(new_id()), "access-sandbox-1")
        (item_id,) = await register_items(resources.database, [new], "operator:bench")
        run: OpenRun = await open_run(resources, item_id, SyncTrigger.BACKFILL)
        with as_pages(bodies) as pages:
            began = time.perf_counter()
            await record_pages(resources, run, pages)
            kept.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        with await read_pages(resources.database, Place(item_id, run.id, run.started_at.date(), 0)) as back:
            read.append((time.perf_counter() - began) * 1000)
            if back.count != len(bodies):
                raise SystemExit("the journal gave back other pages than it was given")
    return statistics.median(kept), statistics.median(read)


async def on_database(bodies: list[bytes]) -> Iterator[str]:
    """Measure on this process's settings and yield the lines."""
    async with open_resources(load_settings()) as resources:
        lines = []
        for some in (bodies[:1], bodies):
            kept, read = await clock_ms(resources, some)
            lines.append(f"record_pages, {len(some)} pages   {kept:8.1f} ms, read back {read:8.1f} ms")
    return iter(lines)


def environment(servers: Any) -> dict[str, str]:
    """Return what the processes of this measurement are told."""
    return {
        "MANNA_ENVIRONMENT": "test",
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
        "PLAID_CLIENT_ID": "sandbox-client",
        "PLAID_SECRET": "sandbox-secret",
        "PAGE_JOURNAL_DAYS": "1",
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=40)
    bodies = fetched(parser.parse_args().pages)
    with open_servers(durable=True) as servers:
        os.environ.update(environment(servers))
        subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, check=True)
        lines = asyncio.run(on_database(bodies))
        keyring = current_keyring()
    packed = [zlib.compress(body, COMPRESSION) for body in bodies]
    sealed = [keyring.seal_bytes(body, CONTEXT) for body in packed]
    size = cast("Callable[[list[bytes]], float]", lambda many: statistics.median(map(len, many)))
    print(f"a page of 500                {size(bodies):10,.0f} bytes, kept as {size(sealed):,.0f}")
    print(f"compress                     {cpu_ms(lambda one: zlib.compress(one, COMPRESSION), bodies):8.2f} ms of CPU")
    print(f"seal                         {cpu_ms(lambda one: keyring.seal_bytes(one, CONTEXT), packed):8.2f} ms of CPU")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
