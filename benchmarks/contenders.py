"""Who takes part, and how each is started. A peer gets a smaller share, so that it ends in a bounded time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from celery import Celery

from benchmarks.contender import Contender, Session, ask_round, open_program, totals
from benchmarks.ground import ROOT, Ground, Place, Plaid
from benchmarks.manna import manna
from benchmarks.sql import wait_until
from benchmarks.work import PAGE, Totals, Work
from core.broker.messages import ITEMS_A_MESSAGE

PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
ROUND_SECONDS = 300
LIMIT_STORED = "SELECT count(*), sum(amount), (SELECT count(*) FROM cursors WHERE cursor LIKE $1) FROM rows"
MODELS_STORED = "SELECT count(*), sum(amount), (SELECT count(*) FROM items WHERE cursor LIKE $1) FROM rows"
MODELS_SYNCED = "SELECT count(*) FROM items WHERE cursor LIKE $1"
# dlt and Singer keep their cursors themselves; their programs tell how many are the last.
DLT_STORED = "SELECT count(*), sum(amount), $1::bigint FROM dlt.transactions"
SINGER_STORED = (
    "SELECT count(*), sum(amount), $1::bigint FROM singer.transactions "
    "WHERE _sdc_deleted_at IS NULL AND amount IS NOT NULL"
)


@contextmanager
def open_limit(ground: Ground, place: Place, plaid: Plaid) -> Iterator[Session]:
    """Start the limit."""
    del ground
    with open_program([sys.executable, "-m", "benchmarks.limit"], place, plaid) as process:
        yield Session(
            round=lambda number: void(ask_round(process, number)),
            totals=lambda number: totals(place.database_url, LIMIT_STORED, f"%end-of-round-{number}"),
            pids=[process.pid],
        )


def void(_answer: str) -> None:
    """Say nothing about an answer."""


@contextmanager
def open_pipeline(
    ground: Ground, place: Place, plaid: Plaid, *, program: tuple[str, ...], stored: str
) -> Iterator[Session]:
    """Start a peer that runs as one pipeline."""
    del ground
    at_cursor: list[int] = []
    argv = [str(PEERS_PYTHON), "-m", f"benchmarks.peers.{program[0]}", *program[1:]]
    with open_program(argv, place, plaid) as process:
        yield Session(
            round=lambda number: at_cursor.append(int(ask_round(process, number))),
            totals=lambda _number: totals(place.database_url, stored, at_cursor[-1]),
            pids=[process.pid],
        )


@contextmanager
def open_models(ground: Ground, place: Place, plaid: Plaid, *, write: str) -> Iterator[Session]:
    """Start a Celery prefork worker of two processes on plaid-python's models."""
    given = {
        **os.environ,
        "DATABASE_URL": place.database_url,
        "REDIS_URL": place.redis_url,
        "PLAID_URL": plaid.url,
        "BENCH_ITEMS": str(plaid.work.items),
        "BENCH_WRITE": write,
    }
    module = "benchmarks.peers.celery_models"
    subprocess.run([str(PEERS_PYTHON), "-m", module], cwd=ROOT, env=given, check=True)
    argv = [str(PEERS_PYTHON), "-m", "celery", "-A", module, "worker", "-c", "2"]
    argv += ["--without-gossip", "--without-mingle", "-l", "WARNING"]
    supervisor, log = ground.servers.supervisor, ground.servers.directory / "models.log"
    pid = supervisor.start("models", argv, log=log, env=given)
    try:
        with Celery(broker=place.redis_url, set_as_current=False) as app:
            supervisor.wait_ready("models", lambda: bool(app.control.ping(timeout=1)))
            yield Session(
                round=partial(_send_all, app, place, plaid.work.items),
                totals=partial(_models_totals, place),
                pids=[pid, ground.valkey_pid],
            )
    finally:
        supervisor.stop("models")


def _send_all(app: Celery, place: Place, items: int, number: int) -> None:
    for item in range(items):
        app.send_task("sync", (item,), ignore_result=True)
    ends = f"%end-of-round-{number}"
    wait_until(place.database_url, MODELS_SYNCED, ends, is_over=lambda n: n >= items, seconds=ROUND_SECONDS)


def _models_totals(place: Place, number: int) -> Totals:
    return totals(place.database_url, MODELS_STORED, f"%end-of-round-{number}")


def contenders(scale: float = 1.0) -> list[Contender]:
    """Return everybody, with the full work at scale 1."""

    def share(items: float, history: int) -> Work:
        return Work(max(2, round(items * scale)), history)

    full, changes, page = share(40, 2000), share(2000, 5), min(PAGE, max(5, round(PAGE * scale)))
    dlt = partial(open_pipeline, program=("dlt_pipeline",), stored=DLT_STORED)
    dlt_parts = partial(open_pipeline, program=("dlt_pipeline", str(ITEMS_A_MESSAGE)), stored=DLT_STORED)
    singer = partial(open_pipeline, program=("singer_tap",), stored=SINGER_STORED)
    core, orm = (partial(open_models, write=write) for write in ("core", "orm"))
    return [
        Contender("limit", open_limit, full, changes),
        Contender("manna", manna(2), full, changes),
        Contender("manna, 1 process", manna(1), full, changes),
        # dlt's cost lies in the load, not in its rows: with less work it would look slower than it is.
        Contender("dlt, one load", dlt, share(5, 2000), changes, is_peer=True),
        Contender("dlt, 50 Items a load", dlt_parts, share(5, 2000), share(400, 5), is_peer=True),
        Contender("singer", singer, share(3, 2000), share(400, 5), is_peer=True),
        Contender("models, Core", core, Work(2, page), share(80, 5), is_peer=True),
        Contender("models, ORM", orm, Work(2, page), share(80, 5), is_peer=True),
    ]
