"""The capacity page: what 10,000 to 10,000,000 Items need, from measured costs and one formula each."""

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

NAME = "../explanation/capacity.md"
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks/results.json"
FLEETS = (10_000, 100_000, 1_000_000, 10_000_000)
DAY = 86_400
PLAID_CALLS_A_MINUTE = 2_500
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
SPANS = ((1440, "days"), (60, "h"), (1, "min"))
TWO_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, on the machine that the page names; CPU in seconds of one core, sizes in bytes."""

    sync_client_cpu: float
    sync_database_cpu: float
    transaction_cpu: float
    worker_megabytes: int
    transaction_bytes: int = 1_340
    item_bytes: int = 3_500
    account_bytes: int = 1_200
    run_bytes: int = 720
    audit_event_bytes: int = 700
    message_bytes: int = 1_230


@dataclass(frozen=True, slots=True)
class Load:
    """What is assumed of an Item, and how full a core may be; put your own figures here."""

    syncs_a_day: int = 5
    peak: float = 4.0
    busy: float = 0.6
    transactions: int = 2_000
    accounts: int = 2
    events_a_sync: int = 3
    run_days: int = 90
    audit_days: int = 2_557
    pool: int = 20
    outage_hours: int = 1


HEAD = """# Capacity

Written by `python -m scripts.reference` from `benchmarks/results.json` and the sizes and assumptions in
`scripts/reference/capacity.py`: change these there for your own load.

## Measured costs

{costs}

CPU and memory are those of `benchmarks/results.json` ({machine}; PostgreSQL 18 and Valkey 9 on
loopback, durable); the bytes were counted over 100 Items of 500 transactions. Seconds do not carry over to another
machine: run `make bench`, then `make reference`, on yours. Page caches, indexes after years of updates and backups are
not in the sizes.

## Assumed load

{load}

## What it comes to

{table}

With N Items: mean syncs a second `s = N * {syncs} / 86,400`, at peak `p = {peak:g} * s`.

- **Worker processes** `max(2, p * {client:g} s / {busy:g})`: one process is one core, {memory} MB at rest; give it
  384 MB.
- **PostgreSQL cores** `p * {database:g} s / {busy:g}`, for the syncs alone.
- **Connections** `DATABASE_POOL_SIZE * (workers + 2 web + 2 audit) + 5`. Beyond some hundreds put
  [PgBouncer](../how-to/run-behind-pgbouncer-and-sentinel.md) between.
- **Redis**: 2 MB, and for an hour in which no worker runs {message:,} bytes a waiting webhook. Scheduled Items wait
  fifty in a message, about 95 bytes each. Leases and budget are small: a few hundred bytes an Item at work.
- **Plaid**: one call a sync, and one a page of 500 on the first load. The published limit is {limit:,} calls a minute
  for a client id. Where the peak is above it, syncs wait their turn ([how](outbound-budget.md)) and webhooks pass
  first; where the mean is above it, ask Plaid for more before you grow.
- **Storage**: rows, {runs} days of runs, {audit:,} days of audit events, three a sync: webhook received, token
  opened, changes committed.

## What to notice

- The audit log outgrows everything else within a few years, because each opening of a token is an event.
  `AUDIT_RETENTION_DAYS` decides; months that are exported can be dropped.
- Plaid's limit binds long before the machines do. A first load of N Items with {transactions:,} transactions each
  needs `N * {pages} / {limit:,}` minutes at the full budget; the table says how long that is.
- The dispatcher claims due Items 1,000 at a time from [a narrow table](../adr/0021-the-schedule-is-narrow.md), 115
  bytes an Item with its two indexes; `make bench` measures that with 10,000,000 Items.
"""


def page() -> str:
    """Return the page's text."""
    results = json.loads(RESULTS.read_text())
    costs, load = measured(results["parts"]), Load()
    return HEAD.format(
        machine="{cores} cores of an {cpu}".format_map(results["machine"]),
        costs=_costs(costs),
        load=_load(load),
        table="\n".join(_table(costs, load)),
        syncs=load.syncs_a_day,
        peak=load.peak,
        client=costs.sync_client_cpu,
        database=costs.sync_database_cpu,
        busy=load.busy,
        memory=costs.worker_megabytes,
        message=costs.message_bytes,
        limit=PLAID_CALLS_A_MINUTE,
        runs=load.run_days,
        audit=load.audit_days,
        transactions=load.transactions,
        pages=_pages(load),
    )


def measured(parts: dict[str, Any]) -> Costs:
    """Return the costs by the benchmark's rounds of two worker processes without Plaid's latency."""
    sync, load = _rounds(parts["incremental"]), _rounds(parts["initial"])
    return Costs(
        sync_client_cpu=_a_unit(sync, "contender"),
        sync_database_cpu=_a_unit(sync, "postgres"),
        transaction_cpu=_a_unit(load, "contender", "postgres"),
        worker_megabytes=round(max(one["peak_process_bytes"] for one in sync) / 2**20),
    )


def _rounds(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in part["measured"] if one["contender"] == "manna" and one["latency_ms"] == 0]


def _a_unit(rounds: list[dict[str, Any]], *whose: str) -> float:
    """Return the median CPU seconds a unit, to two digits: more of them would only be noise."""
    seconds = statistics.median(sum(one["cpu"][name] for name in whose) / one["units"] for one in rounds)
    return float(f"{seconds:.2g}")


def _costs(costs: Costs) -> str:
    client, database = costs.sync_client_cpu * 1000, costs.sync_database_cpu * 1000
    rows = f"{costs.transaction_bytes:,}, {costs.item_bytes:,}, {costs.account_bytes:,}"
    return f"""| what | cost |
|---|---|
| a sync: 3 added, 1 modified, 1 removed | {client:g} ms of worker and audit consumer, {database:g} ms of PostgreSQL |
| a transaction of the first load | {costs.transaction_cpu * 1_000_000:.0f} µs of both |
| a worker process, with syncs under way | {costs.worker_megabytes} MB |
| stored: transaction, Item, account | {rows} bytes with indexes |
| stored: run, sealed audit event | {costs.run_bytes:,}, {costs.audit_event_bytes:,} bytes with indexes |
| a waiting message of one Item in Redis | {costs.message_bytes:,} bytes |"""


def _load(load: Load) -> str:
    return f"""| what | figure |
|---|---|
| syncs of an Item a day: four announced by webhook, one by the schedule | {load.syncs_a_day} |
| peak over mean | {load.peak:g} |
| a core is planned to be busy | {load.busy:.0%} |
| transactions of an Item, accounts | {load.transactions:,}, {load.accounts} |"""


def _table(costs: Costs, load: Load) -> Iterator[str]:
    yield "| | " + " | ".join(f"{fleet:,} Items" for fleet in FLEETS) + " |"
    yield "|---|" + "---|" * len(FLEETS)
    columns = [_needs(fleet, costs, load) for fleet in FLEETS]
    for name in columns[0]:
        yield f"| {name} | " + " | ".join(column[name] for column in columns) + " |"


def _needs(items: int, costs: Costs, load: Load) -> dict[str, str]:
    mean = items * load.syncs_a_day / DAY
    peak = mean * load.peak
    workers = max(2, ceil(peak * costs.sync_client_cpu / load.busy))
    backlog = items * load.syncs_a_day / 24 * load.outage_hours * costs.message_bytes
    rows = items * (
        costs.item_bytes + load.accounts * costs.account_bytes + load.transactions * costs.transaction_bytes
    )
    runs = items * load.syncs_a_day * load.run_days * costs.run_bytes
    audit = items * load.syncs_a_day * load.events_a_sync * costs.audit_event_bytes * load.audit_days
    return {
        "syncs a second, mean and peak": f"{mean:,.1f}, {peak:,.1f}",
        "worker processes": f"{workers:,}",
        "PostgreSQL cores": f"{max(1, ceil(peak * costs.sync_database_cpu / load.busy)):,}",
        "connections": f"{load.pool * (workers + 4) + 5:,}",
        "Redis": _bytes(2_000_000 + backlog),
        "Plaid's calls a minute, mean and peak": f"{mean * 60:,.0f}, {peak * 60:,.0f}",
        "of Plaid's published limit, mean": f"{mean * 60 / PLAID_CALLS_A_MINUTE:.0%}",
        "first load at the full budget": _hours(items * _pages(load) / PLAID_CALLS_A_MINUTE),
        "rows": _bytes(rows),
        "run history": _bytes(runs),
        "audit log": _bytes(audit),
    }


def _pages(load: Load) -> int:
    return ceil(load.transactions / 500)


def _bytes(count: float) -> str:
    size, unit = next((count / each, name) for each, name in UNITS if count >= each or name == "MB")
    return f"{size:,.0f} {unit}" if size >= TWO_DIGITS else f"{size:,.1f} {unit}"


def _hours(minutes: float) -> str:
    each, name = next((each, name) for each, name in SPANS if minutes >= 2 * each or name == "min")
    return f"{minutes / each:,.0f} {name}"
