"""This service as it is deployed: Items imported by `manna`, claimed by the dispatcher, synced by Celery workers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from celery import Celery
from sqlalchemy import make_url

from benchmarks.contender import Open, Session, totals
from benchmarks.ground import ROOT, Ground, Place, Plaid
from benchmarks.sql import execute, wait_until
from benchmarks.work import Totals, access_token
from core.encryption import EncryptionKeyProvider
from devstack.stack import CELERY, QUIET, SYNC_QUEUES

ROUND_SECONDS = 600
USER = "bench"
STORED = """
SELECT count(*), sum(amount), (SELECT count(*) FROM plaid_items WHERE user_id = $1 AND cursor LIKE $2)
FROM transactions WHERE removed_at IS NULL
"""
SYNCED = "SELECT count(*) FROM plaid_items WHERE user_id = $1 AND version >= $2"


def environment(place: Place, plaid_url: str, **settings: str) -> dict[str, str]:
    """Return the environment of every process of the service."""
    return {
        **os.environ,
        "MANNA_ENVIRONMENT": "development",
        "DATABASE_URL": place.database_url,
        "REDIS_URL": place.redis_url,
        "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
        "PLAID_CLIENT_ID": "sandbox-client",
        "PLAID_SECRET": "sandbox-secret",
        "PLAID_BASE_URL": plaid_url,
        # The work is measured, not the waiting for a budget that a real Plaid would set.
        "PLAID_RATE_PER_ITEM_PER_MINUTE": "1000000",
        "PLAID_RATE_PER_CLIENT_PER_MINUTE": "100000000",
        # As in the image.
        "MALLOC_ARENA_MAX": "2",
        **settings,
    }


def manna(workers: int, **settings: str) -> Open:
    """Return the way to open the service with so many worker processes, and the dedicated audit consumer."""
    return partial(open_manna, workers=workers, settings=settings)


@contextmanager
def open_manna(
    ground: Ground, place: Place, plaid: Plaid, *, workers: int, settings: dict[str, str]
) -> Iterator[Session]:
    """Import the Items, start the workers and wait until they are ready."""
    given = environment(place, plaid.url, **settings)
    import_items(given, range(plaid.work.items))
    # Several services may stand side by side.
    own = make_url(place.database_url).database
    started = [f"{own}-sync{number}" for number in range(workers)]
    pids = [_start(ground, name, SYNC_QUEUES, given) for name in started]
    started.append(f"{own}-audit")
    pids.append(_start(ground, started[-1], "audit", given))
    for name in started:
        log = ground.servers.directory / f"{name}.log"
        ground.servers.supervisor.wait_ready(name, lambda log=log: "ready" in log.read_text(errors="replace"))  # type: ignore[misc]  # mypy cannot infer a bound lambda
    try:
        yield Session(
            round=partial(_round, place, plaid.work.items),
            totals=partial(_totals, place),
            # The broker works for this contender alone.
            pids=[*pids, ground.valkey_pid],
            finish=partial(_until, place.database_url, "SELECT -count(*) FROM audit_outbox", 0),
        )
    finally:
        for name in started:
            ground.servers.supervisor.stop(name)


def import_items(given: dict[str, str], numbers: Sequence[int]) -> None:
    """Register Items with `manna items import`."""
    lines = (
        json.dumps({"user_id": USER, "plaid_item_id": f"item-{n:08}", "access_token": access_token(n)}) for n in numbers
    )
    command = [sys.executable, "-m", "cli", "items", "import", "-"]
    subprocess.run(
        command, cwd=ROOT, env=given, input="\n".join(lines), text=True, check=True, stdout=subprocess.DEVNULL
    )


def dispatch(redis_url: str) -> None:
    """Tick once, as beat would: the dispatcher claims what is due and sends it as `sync.items`."""
    with Celery(broker=redis_url, set_as_current=False) as app:
        app.send_task("sync.dispatch_due", queue="maintenance", ignore_result=True)


def _start(ground: Ground, name: str, queues: str, given: dict[str, str]) -> int:
    argv = [*CELERY, "worker", "-Q", queues, *QUIET, "-n", f"{name}@%h"]
    log = ground.servers.directory / f"{name}.log"
    log.unlink(missing_ok=True)
    return ground.servers.supervisor.start(name, argv, log=log, env=given)


def _round(place: Place, items: int, number: int) -> None:
    if number > 1:
        execute(place.database_url, f"UPDATE plaid_items SET next_sync_at = now() WHERE user_id = '{USER}'")  # noqa: S608 - a constant
    dispatch(place.redis_url)
    _until(place.database_url, SYNCED, items, USER, number)


def _until(database_url: str, question: str, goal: int, *arguments: object) -> None:
    wait_until(database_url, question, *arguments, is_over=lambda found: found >= goal, seconds=ROUND_SECONDS)


def _totals(place: Place, number: int) -> Totals:
    return totals(place.database_url, STORED, USER, f"%end-of-round-{number}")
