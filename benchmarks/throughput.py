"""INITIAL and INCREMENTAL at 0 and at 80 ms of Plaid latency: everybody in turn, round after round."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from benchmarks.accounting import measured
from benchmarks.contender import Contender, check
from benchmarks.ground import Ground, Plaid, open_plaid
from benchmarks.work import Work

SCENARIOS = {"initial": 1, "incremental": 2}
LATENCIES_MS = (0, 80)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured run whose result was right. `units` are transactions in INITIAL, Items in INCREMENTAL.

    `seconds` end with the last commit; CPU seconds include what a contender does afterwards, such as sealing
    the audit chain. Memory is resident bytes.
    """

    scenario: str
    latency_ms: int
    contender: str
    round: int
    units: int
    seconds: float
    finished_seconds: float
    cpu: dict[str, float]
    peak_process_bytes: int
    peak_total_bytes: int


def measure(
    ground: Ground, contenders: list[Contender], scenario: str, latencies_ms: Iterable[int], rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield a figure for each round, contender and latency of a scenario as it is measured."""
    with ExitStack() as stack:
        stands = {latency: _open_stands(stack, scenario, contenders, latency) for latency in latencies_ms}
        for number, contender, latency_ms in turns(contenders, list(stands), rounds):
            plaid = stands[latency_ms][contender.name]
            yield asdict(_run(ground, contender, plaid, scenario, latency_ms, number))


def turns(contenders: list[Contender], latencies_ms: list[int], rounds: int) -> list[tuple[int, Contender, int]]:
    """Return who takes a turn at which latency, round by round.

    One latency right after the other, for they are compared: a machine that slows down in between would be taken for
    the waiting. Where Plaid makes everybody wait, a peer takes part in the first round alone: its rate is that of its
    waiting, which hardly scatters, and three rounds of it would take half of the benchmark.
    """
    every = product(range(1, rounds + 1), contenders, latencies_ms)
    return [(number, one, latency) for number, one, latency in every if number == 1 or not (latency and one.is_peer)]


def share(contender: Contender, scenario: str) -> Work:
    """Return a contender's part of a scenario."""
    return contender.initial if scenario == "initial" else contender.incremental


def _open_stands(stack: ExitStack, scenario: str, contenders: list[Contender], latency_ms: int) -> dict[str, Plaid]:
    """Open one stand-in for each length of history; whoever has fewer Items asks for the first of them."""
    shares = {contender.name: share(contender, scenario) for contender in contenders}
    items: dict[int, int] = {}
    for work in shares.values():
        items[work.history] = max(items.get(work.history, 0), work.items)
    opened = {
        history: stack.enter_context(open_plaid(Work(count, history), latency_ms)) for history, count in items.items()
    }
    return {name: replace(opened[work.history], work=work) for name, work in shares.items()}


def _run(  # noqa: PLR0913, PLR0917 - what identifies a figure
    ground: Ground, contender: Contender, plaid: Plaid, scenario: str, latency_ms: int, number: int
) -> Figure:
    last = SCENARIOS[scenario]
    with ground.place() as place, contender.open(ground, place, plaid) as session:
        for earlier in range(1, last):
            session.round(earlier)
            session.finish()
        ground.settle()
        parts = {"contender": session.pids, "postgres": [ground.postgres_pid], "stand_in": [plaid.pid]}
        with measured(parts, session.pids) as cost:
            began = time.monotonic()
            session.round(last)
            seconds = time.monotonic() - began
            session.finish()
            finished = time.monotonic() - began
        check(contender.name, session.totals(last), plaid.work.totals(last))
    units = plaid.work.items * (plaid.work.history if last == 1 else 1)
    memory = cost.memory
    return Figure(
        scenario, latency_ms, contender.name, number, units, seconds, finished, cost.cpu,
        memory.peak_process, memory.peak_total,
    )  # fmt: skip
