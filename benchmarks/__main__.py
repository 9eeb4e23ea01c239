"""`make bench`: measures everything, keeps the raw figures, writes the report and prints it."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import fleet, health, report, restarts, results, service, throughput, webhook_receipt, webhooks
from benchmarks.contenders import PEERS_PYTHON, contenders
from benchmarks.ground import ROOT, Ground, open_ground
from benchmarks.outbound_budget import outbound_budget

PARTS = (
    "initial",
    "incremental",
    "memory",
    "large",
    "webhook",
    "receipt",
    "health",
    "restarts",
    "fleet",
    "due",
    "budget",
)
QUICK_SCALE = 0.05
FLEETS = (10_000, 100_000, 1_000_000)
DUE_ITEMS = 10_000_000
QUICK_FLEETS = (1_000, 10_000)
QUICK_BUDGET = ["--limit", "120", "--item-limit", "10", "--window", "12", "--seconds", "12", "--processes", "2"]
FLEET_ROUNDS = 5
Measure = Callable[[Ground], Any]


def arguments(given: list[str]) -> argparse.Namespace:
    """Return the checked arguments."""
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=…", description=__doc__, epilog="Example: make bench ARGS='--only incremental --rounds 5'"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a twentieth of the work, one round, no latency; leaves RESULTS.md alone",
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"some of: {', '.join(PARTS)}"
    )
    parser.add_argument("--rounds", type=int, help="interleaved rounds of the two scenarios (3; quick 1)")
    parser.add_argument("--scale", type=float, help="share of the full work (1; quick 0.05)")
    parser.add_argument("--latency", type=int, nargs="+", metavar="MS", help="of a Plaid call (0 80; quick 0)")
    parser.add_argument(
        "--contenders", nargs="+", metavar="NAME", help="only those whose names begin so, such as limit manna"
    )
    parser.add_argument("--items", type=int, help="most Items in the tables of the parts fleet and due (10000000)")
    parser.add_argument("--output", type=Path, help="directory of results.json and RESULTS.md (benchmarks)")
    chosen = parser.parse_args(given)
    chosen.rounds = chosen.rounds or (1 if chosen.quick else 3)
    chosen.scale = chosen.scale or (QUICK_SCALE if chosen.quick else 1.0)
    chosen.latency = chosen.latency or ((0,) if chosen.quick else throughput.LATENCIES_MS)
    chosen.output = chosen.output or ROOT / (".manna/bench" if chosen.quick else "benchmarks")
    return chosen


def measures(chosen: argparse.Namespace) -> dict[str, Measure]:
    """Return how each part is measured."""
    every = [
        one
        for one in contenders(chosen.scale)
        if not chosen.contenders or one.name.startswith(tuple(chosen.contenders))
    ]

    def rates(ground: Ground, scenario: str) -> list[dict[str, Any]]:
        return [told(figure) for figure in throughput.measure(ground, every, scenario, chosen.latency, chosen.rounds)]

    return {
        "initial": partial(rates, scenario="initial"),
        "incremental": partial(rates, scenario="incremental"),
        "memory": lambda ground: service.hundred_at_once(ground, chosen.scale),
        "large": lambda ground: service.large_item(ground, chosen.scale),
        "webhook": lambda _ground: webhooks.webhook_latency(10 if chosen.quick else 200),
        "receipt": lambda _ground: webhook_receipt.receipt(seconds=5 if chosen.quick else 20),
        "health": lambda _ground: health.health(100 if chosen.quick else 1000),
        "restarts": lambda _ground: restarts.restarts(quick=chosen.quick),
        "fleet": lambda ground: fleet.cost_by_fleet(
            ground, fleets(chosen), round(1000 * chosen.scale), 1 if chosen.quick else FLEET_ROUNDS
        ),
        "due": lambda ground: fleet.claim_time(ground, chosen.items or round(DUE_ITEMS * chosen.scale)),
        "budget": lambda _ground: outbound_budget(QUICK_BUDGET if chosen.quick else []),
    }


def fleets(chosen: argparse.Namespace) -> list[int]:
    """Return the numbers of Items in the table that are compared."""
    return [size for size in (QUICK_FLEETS if chosen.quick else FLEETS) if size <= (chosen.items or size)]


def told(figure: dict[str, Any]) -> dict[str, Any]:
    """Print a figure as it comes in."""
    rate, unit = figure["units"] / figure["seconds"], report.UNITS[figure["scenario"]]
    who = f"{figure['latency_ms']:2} ms  round {figure['round']}  {figure['contender']:20}"
    print(f"  {who} {rate:10,.0f} {unit}/s", flush=True)
    return figure


def main() -> None:
    """Measure part after part; whatever is done is kept, also when a later one fails."""
    chosen = arguments(sys.argv[1:])
    if not PEERS_PYTHON.exists():
        sys.exit("the peers are not installed: run `make bench`, which makes .venv-bench from locks/bench.txt")
    file = chosen.output / "results.json"
    kept = results.load(file) if not chosen.quick else {"parts": {}}
    with open_ground() as ground:
        for part, measure in measures(chosen).items():
            if part in chosen.only:
                began = time.monotonic()
                print(f"{part}:", flush=True)
                measured = measure(ground)
                took = round(time.monotonic() - began)
                results.save(file, kept, part, measured, took)
                print(f"  took {took} s", flush=True)
    text = report.markdown(kept)
    (chosen.output / "RESULTS.md").write_text(text)
    print(text)
    if "restarts" in chosen.only and (broken := restarts.broken(kept["parts"]["restarts"]["measured"])):
        sys.exit("not as promised: " + ", ".join(broken))


if __name__ == "__main__":
    main()
