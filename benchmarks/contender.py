"""Whoever is measured: something that can do a round of the work, and a query that tells what it stored."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from benchmarks.ground import ROOT, Ground, Place, Plaid
from benchmarks.sql import fetch
from benchmarks.work import Totals, Work


def nothing() -> None:
    """Wait for nothing."""


@dataclass(frozen=True, slots=True)
class Session:
    """A contender ready to work. `round` does one, `finish` waits for what it does afterwards, at its own cost."""

    round: Callable[[int], None]
    totals: Callable[[int], Totals]
    pids: list[int]
    finish: Callable[[], None] = nothing


Open = Callable[[Ground, Place, Plaid], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A way of doing the work. `initial` and `incremental` are its shares: what it can do in a bounded time."""

    name: str
    open: Open
    initial: Work
    incremental: Work
    is_peer: bool = field(default=False)


class WrongResultError(Exception):
    """A contender stored something else than the work: its figure counts for nothing."""


def check(name: str, found: Totals, expected: Totals) -> None:
    """Compare what was stored with what had to be.

    Raises:
        WrongResultError: rows, sum of amounts or cursors differ.
    """
    if found != expected:
        raise WrongResultError(f"{name} stored {found}, expected {expected}")


def totals(database_url: str, query: str, *arguments: object) -> Totals:
    """Return the totals that a query of rows, sum and cursors gives."""
    rows, amount, at_cursor = fetch(database_url, query, *arguments)[0]
    # Peers that store floats are not failed for the last binary digit.
    return Totals(rows, round(Decimal(amount or 0), 2), at_cursor)


@contextmanager
def open_program(argv: list[str], place: Place, plaid: Plaid) -> Iterator[subprocess.Popen[str]]:
    """Start a program that says "ready", does a round for each line it is given and says "done" after it."""
    environment = {
        **os.environ,
        "DATABASE_URL": place.database_url,
        "REDIS_URL": place.redis_url,
        "PLAID_URL": plaid.url,
        "BENCH_ITEMS": str(plaid.work.items),
        "BENCH_HISTORY": str(plaid.work.history),
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]  # pipes by name
        try:
            answer(process, "ready")
            yield process
        finally:
            process.stdin.close()


def answer(process: subprocess.Popen[str], word: str) -> str:
    """Return what a program says after `word`, which its next line must begin with."""
    line = process.stdout.readline() if process.stdout else ""
    if not line.startswith(word):
        raise RuntimeError(f"{process.args!r} said {line!r} instead of {word!r}")
    return line.removeprefix(word).strip()


def ask_round(process: subprocess.Popen[str], number: int) -> str:
    """Have a program do a round, and return what it says about it."""
    if process.stdin is None:
        raise RuntimeError("the program has no pipes")
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return answer(process, "done")
