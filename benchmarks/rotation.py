"""Re-encryption of many rows with syncs under way and processes that are killed, and the migration that encrypts.

    python benchmarks/rotation.py [--rows 1000000] [--kills 20] [--syncs 200] [--rows-per-second 0]

On a PostgreSQL and a Valkey of its own: (1) so many plain tokens, encrypted by `alembic upgrade`; (2) a new key is
promoted and the re-encryption runs in a process that is killed (-9) again and again, while Items are synced; a reader
opens random rows all the time. At the end each token is compared with what it was. Exit code 1 if one promise (E7,
E13) is not kept.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import asyncpg
from sqlalchemy import select

from core.encryption import EncryptionKeyProvider, current_keyring
from core.models import PlaidItem, RunStatus, SyncTrigger
from core.resources import Resources, open_resources
from core.rotation.promotion import promote
from core.rotation.proof import rows_by_key
from core.rotation.reencrypt import BATCH, reencrypt
from core.settings import load_settings
from core.sync.sync_item import sync_item
from devstack.servers import open_servers

ROOT = Path(__file__).resolve().parents[1]
BEFORE, ENCRYPTED = "20250912_0000", "20250918_0500"
TOKEN = "access-sandbox-"  # noqa: S105 - the part that all made-up tokens share
ROWS = """
INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token, next_sync_at)
SELECT gen_random_uuid(), 'u' || n, 'itm' || n, $2 || md5(n::text), NULL FROM generate_series(1, $1::int) AS n
"""
WORKER = """
import asyncio, sys
from core.resources import open_resources
from core.rotation.reencrypt import reencrypt
from core.settings import load_settings

async def main():
    async with open_resources(load_settings()) as resources:
        say = lambda done: print(done, flush=True)
        state = await reencrypt(resources.database, rows_per_second=int(sys.argv[1]), on_progress=say)
        print("remaining", state.remaining, flush=True)
asyncio.run(main())
"""
PAGE = (
    b'{"accounts":[],"added":[],"modified":[],"removed":[],"next_cursor":"c1","has_more":false,"request_id":"r",'
    b'"transactions_update_status":"HISTORICAL_UPDATE_COMPLETE"}'
)


class OnePage:
    """A page source that always answers at once; it checks that it is asked with a token."""

    async def transactions_sync(self, access_token: str, _cursor: str | None, _again: object = None) -> bytes:
        """Return the only page."""
        if not access_token.startswith(TOKEN):
            raise ValueError("a sync was given something that is no token")
        return PAGE


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the body took."""
    begun = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begun:.1f} s", flush=True)


def alembic(*arguments: str) -> None:
    """Migrate with the benchmark's environment."""
    subprocess.run([sys.executable, "-m", "alembic", *arguments], cwd=ROOT, check=True)


async def plain_rows(url: str, rows: int) -> dict[UUID, str]:
    """Make plain tokens and return them by row."""
    connection = await asyncpg.connect(url)
    await connection.execute(ROWS, rows, TOKEN, timeout=600)
    found = await connection.fetch("SELECT id, plaid_access_token FROM plaid_items", timeout=600)
    await connection.close()
    return {UUID(str(row["id"])): row["plaid_access_token"] for row in found}


async def rotation_killed(rows: int, kills: int, rows_per_second: int) -> int:
    """Run the re-encryption in a process that is killed so often, then once to its end; return what remained."""
    # So that no process comes to the end before its kill.
    most = max(rows // BATCH // (kills + 1) - 1, 1)
    for number in range(kills + 1):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(rows_per_second), cwd=ROOT, stdout=subprocess.PIPE
        )
        last = number == kills
        batches = None if last else random.randint(1, most)
        lines = [line async for line in _until(process, batches)]
        if not last:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        done = sum(int(line) for line in lines if line.isdigit())
        print(f"  process {number + 1}: {done} rows told of, {'ended' if last else 'killed'}", flush=True)
    return int(lines[-1].split()[-1])


async def _until(process: asyncio.subprocess.Process, batches: int | None):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a generator of lines
    assert process.stdout is not None  # noqa: S101 - it was piped
    while line := await process.stdout.readline():
        yield line.decode().strip()
        if batches is not None and (batches := batches - 1) <= 0:
            return


async def read_all_the_time(resources: Resources, expected: dict[UUID, str], ended: asyncio.Event) -> tuple[int, int]:
    """Open random rows until the end; return how many were read and how many were wrong or did not open."""
    ids, read, wrong = list(expected), 0, 0
    while not ended.is_set():
        async with resources.database.transaction() as session:
            chosen = random.sample(ids, min(200, len(ids)))
            for row in await session.scalars(select(PlaidItem).where(PlaidItem.id.in_(chosen))):
                read += 1
                wrong += row.plaid_access_token != expected[row.id]
        await asyncio.sleep(0.05)
    return read, wrong


async def sync_all_the_time(
    resources: Resources, ids: list[UUID], ended: asyncio.Event
) -> tuple[dict[RunStatus, int], dict[UUID, int]]:
    """Sync Items over and over; return how the syncs ended, and how many of each Item succeeded."""
    plaid = replace(resources, plaid=OnePage())  # type: ignore[arg-type]  # all that a sync asks of it
    outcomes: dict[RunStatus, int] = {}
    commits = dict.fromkeys(ids, 0)
    while not ended.is_set():
        chosen = random.sample(ids, min(8, len(ids)))
        for item_id, outcome in zip(
            chosen, await asyncio.gather(*(sync_item(plaid, one, SyncTrigger.SCHEDULED) for one in chosen)), strict=True
        ):
            outcomes[outcome.status] = outcomes.get(outcome.status, 0) + 1
            commits[item_id] += outcome.status is RunStatus.SUCCEEDED
    return outcomes, commits


async def compare(resources: Resources, expected: dict[UUID, str], commits: dict[UUID, int]) -> int:
    """Return how many rows have another token, or another version than their commits make."""
    wrong = 0
    async with resources.database.transaction() as session:
        stream = await session.stream_scalars(select(PlaidItem).execution_options(yield_per=5000))
        async for row in stream:
            wrong += row.plaid_access_token != expected[row.id] or row.version != commits.get(row.id, 0)
    return wrong


async def rotate(given: argparse.Namespace, expected: dict[UUID, str]) -> bool:
    """Promote a new key, re-encrypt under kills, syncs and readers, and tell whether every promise held."""
    os.environ["MANNA_ENCRYPTION_KEYS_PREVIOUS"] = os.environ["MANNA_ENCRYPTION_KEY"]
    os.environ["MANNA_ENCRYPTION_KEY"] = EncryptionKeyProvider.generate_key()
    async with open_resources(load_settings()) as resources:
        new, ended = current_keyring().wanted, asyncio.Event()
        await promote(resources.database, resources.settings, new, "operator:benchmark")
        await resources.keyring.refresh()
        reading = asyncio.create_task(read_all_the_time(resources, expected, ended))
        syncing = asyncio.create_task(sync_all_the_time(resources, list(expected)[: given.syncs], ended))
        with timed(f"re-encrypted {len(expected):,} rows with {given.kills} kills"):
            remaining = await rotation_killed(given.rows, given.kills, given.rows_per_second)
        ended.set()
        read, unreadable = await reading
        outcomes, commits = await syncing
        again = await reencrypt(resources.database)
        counts = await rows_by_key(resources.database)
        wrong = await compare(resources, expected, commits)
    print(f"syncs meanwhile: { ({status.value: number for status, number in outcomes.items()}) }")
    print(f"rows opened meanwhile: {read:,}, wrong or unreadable: {unreadable}")
    print(f"rows whose token or version is not what it must be: {wrong}")
    under_old = counts.total() - counts[new]
    print(f"proof: {under_old} rows under the old key, {counts[new]:,} under the new one; run again: {again.rewritten}")
    failed = outcomes.get(RunStatus.FAILED, 0)
    return not (remaining or unreadable or wrong or under_old or failed or again.rewritten)


def main() -> int:
    """Run it on servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--syncs", type=int, default=200, help="how many Items are synced meanwhile")
    parser.add_argument("--rows-per-second", type=int, default=0, help="the throttle; 0 is none")
    given = parser.parse_args()
    with open_servers(durable=True) as servers:
        os.environ |= {
            "MANNA_ENVIRONMENT": "test",
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
            "PLAID_CLIENT_ID": "benchmark",
            "PLAID_SECRET": "benchmark-secret",
            "KEYRING_REFRESH_SECONDS": "2",
        }
        alembic("upgrade", BEFORE)
        with timed(f"made {given.rows:,} rows with plain tokens"):
            expected = asyncio.run(plain_rows(servers.database_url, given.rows))
        with timed(f"alembic upgrade {ENCRYPTED} ({given.rows:,} tokens)"):
            alembic("upgrade", ENCRYPTED)
        alembic("upgrade", "head")
        held = asyncio.run(rotate(given, expected))
    print("every promise held" if held else "a promise was broken")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
