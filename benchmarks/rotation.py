"""Re-encryption of many rows with syncs under way and processes that are killed, and the migration that encrypts.

    python -m benchmarks.rotation [--rows 1000000] [--kills 20] [--migration-kills 5] [--syncs 200] [--keep]

On a PostgreSQL and a Valkey of its own: (1) so many plain tokens, encrypted by `alembic upgrade`, which is killed (-9)
on its way and started again; (2) a new key is promoted and the re-encryption runs in a process that is killed again
and again, while Items are synced; a reader opens random rows all the time. At the end each token is compared with what
it was. Exit code 1 if one promise (E7, E13) is not kept. A million rows take about seven minutes on two quiet cores;
`--keep` writes the log into `benchmarks/SECURITY.md`.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import asyncpg
from sqlalchemy import select

from benchmarks.kept import Log, keep
from core.encryption import EncryptionKeyProvider, current_keyring
from core.models import PlaidItem, RunStatus, SyncTrigger
from core.resources import Resources, open_resources
from core.rotation.promotion import promote
from core.rotation.proof import rows_by_key
from core.rotation.reencrypt import BATCH, reencrypt
from core.rotation.stored_tokens import BATCH as MIGRATION_BATCH
from core.settings import load_settings
from core.sync.sync_item import sync_item
from devstack.processes import ROOT
from devstack.servers import open_servers

BEFORE, ENCRYPTED = "20250912_0000", "20250918_0500"
TOKEN = "access-sandbox-"  # noqa: S105 - the part that all made-up tokens share
ROWS = """
INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token, next_sync_at)
SELECT gen_random_uuid(), 'u' || n, 'itm' || n, $2 || md5(n::text), NULL FROM generate_series(1, $1::int) AS n
"""
PLAIN = "SELECT count(*) FROM plaid_items WHERE plaid_access_token NOT LIKE 'sealed:%'"
BATCHES_DONE = "SELECT count(*) FROM audit_outbox WHERE actor = 'migration:20250918_0500'"
ALEMBIC = (sys.executable, "-m", "alembic")
PAUSE_SECONDS = 0.05
TELL_EVERY = 100_000
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


def alembic(*arguments: str) -> None:
    """Migrate with the benchmark's environment."""
    subprocess.run([*ALEMBIC, *arguments], cwd=ROOT, check=True)


async def migration_killed(url: str, rows: int, kills: int, log: Log) -> int:
    """Run the migration that encrypts, killed so often, then to its end; return how many plain tokens it left."""
    connection = await asyncpg.connect(url)
    for number in range(kills):
        process = await asyncio.create_subprocess_exec(*ALEMBIC, "upgrade", ENCRYPTED, cwd=ROOT)
        # Each batch of tokens is an event: cheaper to count than the rows.
        until = (number + 1) * rows // MIGRATION_BATCH // (kills + 1) - random.randrange(2)
        while process.returncode is None and await connection.fetchval(BATCHES_DONE) < until:
            # The database waits instead of us.
            await connection.execute("SELECT pg_sleep(0.02)")
        process.send_signal(signal.SIGKILL)
        await process.wait()
        done = await connection.fetchval(BATCHES_DONE)
        log.say(f"  migration {number + 1}: killed with {done * MIGRATION_BATCH:,} tokens sealed")
    alembic("upgrade", ENCRYPTED)
    left: int = await connection.fetchval(PLAIN)
    await connection.close()
    return left


async def plain_rows(url: str, rows: int) -> dict[UUID, str]:
    """Make plain tokens and return them by row."""
    connection = await asyncpg.connect(url)
    await connection.execute(ROWS, rows, TOKEN, timeout=600)
    found = await connection.fetch("SELECT id, plaid_access_token FROM plaid_items", timeout=600)
    await connection.close()
    return {UUID(str(row["id"])): row["plaid_access_token"] for row in found}


async def rotation_killed(given: argparse.Namespace, log: Log) -> tuple[int, int]:
    """Run the re-encryption in a process that is killed so often, then once to its end.

    Returns how many processes were killed at work, and what remained under the old key.
    """
    # So that no process comes to the end before its kill.
    most = max(given.rows // BATCH // (given.kills + 1) - 1, 1)
    killed, lines = 0, [""]
    for number in range(given.kills + 1):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(given.rows_per_second), cwd=ROOT, stdout=subprocess.PIPE
        )
        last = number == given.kills
        batches = None if last else random.randint(1, most)
        lines = [line async for line in _until(process, batches, log)]
        if not last:
            process.send_signal(signal.SIGKILL)
        killed += await process.wait() == -signal.SIGKILL
        done = sum(int(line) for line in lines if line.isdigit())
        log.say(f"  process {number + 1}: {done:,} rows told of, {'ended' if last else 'killed'}")
    return killed, int(lines[-1].split()[-1])


async def _until(process: asyncio.subprocess.Process, batches: int | None, log: Log) -> AsyncIterator[str]:
    assert process.stdout is not None  # noqa: S101 - it was piped
    told = done = 0
    while line := (await process.stdout.readline()).decode().strip():
        yield line
        done += int(line) if line.isdigit() else 0
        if done - told >= TELL_EVERY:
            told = done
            log.say(f"    {done:,} rows")
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
        await asyncio.sleep(PAUSE_SECONDS)
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
        await asyncio.sleep(PAUSE_SECONDS)
    return outcomes, commits


async def compare(resources: Resources, expected: dict[UUID, str], commits: dict[UUID, int]) -> int:
    """Return how many rows have another token, or another version than their commits make."""
    wrong = 0
    async with resources.database.transaction() as session:
        stream = await session.stream_scalars(select(PlaidItem).execution_options(yield_per=5000))
        async for row in stream:
            wrong += row.plaid_access_token != expected[row.id] or row.version != commits.get(row.id, 0)
    return wrong


async def rotate(given: argparse.Namespace, expected: dict[UUID, str], log: Log) -> bool:
    """Promote a new key, re-encrypt under kills, syncs and readers, and tell whether every promise held."""
    os.environ["MANNA_ENCRYPTION_KEYS_PREVIOUS"] = os.environ["MANNA_ENCRYPTION_KEY"]
    os.environ["MANNA_ENCRYPTION_KEY"] = EncryptionKeyProvider.generate_key()
    async with open_resources(load_settings()) as resources:
        new, ended = current_keyring().wanted, asyncio.Event()
        await promote(resources.database, resources.settings, new, "operator:benchmark")
        await resources.keyring.refresh()
        reading = asyncio.create_task(read_all_the_time(resources, expected, ended))
        syncing = asyncio.create_task(sync_all_the_time(resources, list(expected)[: given.syncs], ended))
        killed, remaining = await rotation_killed(given, log)
        log.say(f"re-encrypted {len(expected):,} rows with {killed} kills")
        ended.set()
        read, unreadable = await reading
        outcomes, commits = await syncing
        again = await reencrypt(resources.database)
        counts = await rows_by_key(resources.database)
        wrong = await compare(resources, expected, commits)
    log.say(f"syncs meanwhile: { ({status.value: number for status, number in outcomes.items()}) }")
    log.say(f"rows opened meanwhile: {read:,}, wrong or unreadable: {unreadable}")
    log.say(
        f"of {len(expected):,} tokens opened and compared at the end, {wrong} are not what they were (nor versions)"
    )
    under_old = counts.total() - counts[new]
    log.say(
        f"proof: {under_old} rows under the old key, {counts[new]:,} under the new one; run again: {again.rewritten}"
    )
    failed = outcomes.get(RunStatus.FAILED, 0) + (killed != given.kills) + (counts[new] != len(expected))
    return not (remaining or unreadable or wrong or under_old or failed or again.rewritten)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--migration-kills", type=int, default=5)
    parser.add_argument("--syncs", type=int, default=200, help="how many Items are synced meanwhile")
    parser.add_argument("--rows-per-second", type=int, default=0, help="the throttle; 0 is none")
    parser.add_argument("--keep", action="store_true", help="write the log into benchmarks/SECURITY.md")
    return parser.parse_args()


def migrate(given: argparse.Namespace, url: str, log: Log) -> tuple[dict[UUID, str], int]:
    """Make plain tokens and encrypt them under kills; return them by row, and how many stayed plain."""
    alembic("upgrade", BEFORE)
    expected = asyncio.run(plain_rows(url, given.rows))
    log.say(f"made {given.rows:,} rows with plain tokens")
    left = asyncio.run(migration_killed(url, given.rows, given.migration_kills, log))
    log.say(f"alembic upgrade {ENCRYPTED} ended with {given.migration_kills} kills: {left} plain tokens left")
    alembic("upgrade", "head")
    log.say("alembic upgrade head ended")
    return expected, left


def main() -> int:
    """Run it on servers of its own."""
    given, log = arguments(), Log()
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
        expected, left = migrate(given, servers.database_url, log)
        held = asyncio.run(rotate(given, expected, log)) and not left
    log.say("every promise held" if held else "a promise was broken")
    if given.keep:
        keep("Rotation and migration under kills", log.lines)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
