"""Writes docs/reference/metrics.md from the metrics themselves. Run as `python -m scripts.metrics_reference`."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics import Counter, MetricWrapperBase

from core.telemetry.fleet import FAMILIES
from core.telemetry.metrics import Metrics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "metrics.md"
HEAD = """# Metrics

Written by `python -m scripts.metrics_reference`; a test holds it to the code.

`GET /metrics` of the web process has the fleet's state and what that process counted. Workers serve what they counted
on `METRICS_PORT` (0, the default: nowhere) of `METRICS_HOST` (127.0.0.1; a container needs 0.0.0.0). Two workers on a
machine need two ports. With the prefork pool `PROMETHEUS_MULTIPROC_DIR` must name an empty directory of that worker's
own; the threads pool, the default, needs none.

No label holds a secret or the id of an Item or a user. The figures are still yours alone: let the proxy in front of the
web process keep `/metrics` inside.
"""
FLEET = """
## The fleet's state

From the database and Redis, read at most every 15 seconds; every web process says the same, so take `max` over
instances. Freshness is read from a sample of about 100,000 Items. A message is as old as its sender says: the oldest of
a queue is missing while its sender was none of ours.
"""
PROCESS = """
## What a process counts

Counters restart with the process: use `rate` or `increase`, and `sum` over instances. Version conflicts are
`manna_syncs_total{outcome="skipped",error_code="VERSION_CONFLICT"}`, leases that were not free
`error_code="LOCK_NOT_FREE"`, syncs held back by a breaker `error_code="HELD_BACK"`. `python_*` and `process_*` are
prometheus_client's own.
"""
TABLE = "| name | labels | meaning |\n|---|---|---|"


def page() -> str:
    """Return the page's text."""
    return "\n".join([HEAD.rstrip(), FLEET, TABLE, *_fleet(), PROCESS, TABLE, *_process(), ""])


def names() -> set[str]:
    """Return the name of every series, as a query writes it."""
    series = {family.name for family in FAMILIES}
    for collector in own_collectors():
        name = collector._name  # prometheus_client has no public name for it
        suffixes = ("_total",) if isinstance(collector, Counter) else ("", "_bucket", "_sum", "_count")
        series |= {name + suffix for suffix in suffixes}
    return series


def own_collectors() -> list[MetricWrapperBase]:
    """Return the metrics that we count ourselves."""
    found = Metrics().registry._collector_to_names  # prometheus_client has no public name for it
    return [collector for collector in found if isinstance(collector, MetricWrapperBase)]


def _fleet() -> Iterator[str]:
    for family in sorted(FAMILIES, key=lambda family: family.name):
        yield _line(family.name, family.labels, family.meaning)


def _process() -> Iterator[str]:
    for collector in sorted(own_collectors(), key=lambda collector: collector._name):
        suffix = "_total" if isinstance(collector, Counter) else ""
        yield _line(collector._name + suffix, collector._labelnames, collector._documentation)


def _line(name: str, labels: tuple[str, ...], meaning: str) -> str:
    return f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {meaning} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
