"""What a process counts, for Prometheus; what the whole fleet's state is comes from `core.telemetry.fleet`.

One `Metrics` a process, installed when it starts; a process without one counts nothing. With the prefork pool
the counts of all children meet in the files of `PROMETHEUS_MULTIPROC_DIR`, which prometheus_client reads at import.
"""

import os
import re
import threading
from collections.abc import Iterable
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from core.audit import counting
from core.encryption.keyring import installed_keyring
from core.models import SyncTrigger
from core.plaid.limits import Budget
from core.sync.outcome import Outcome

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# Plaid's codes and our own; anything else is no word from a closed set and must not become a time series.
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
SYNCS = "Syncs that ended; error_code is why one failed or was skipped."
SYNC_SECONDS = "How long syncs took that were not skipped."
KEY = "1 for the id of the key that seals in this process, 0 for one that did."
CHANGES = "Plaid's changes that were committed."
RESTARTS = "Page chains begun anew because the data changed meanwhile."
AUDIT: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (counting.SEALED, "Audit events sealed into the chain.", ()),
    (counting.CHECKPOINTS_SIGNED, "Checkpoints of the audit chain that were signed.", ()),
    (counting.CONTEXT_DROPPED, "Fields of audit events that were not on the allow-list.", ()),
    (counting.ALERTS, "Alerts of the audit log's rules.", ("rule", "severity")),
    (counting.ALERTS_UNDELIVERED, "Those of them that could not be delivered.", ()),
)
BUDGET_COUNTS = (
    ("spent", "calls", "Calls to Plaid that the outbound budget let through."),
    ("waits", "calls_waited", "Those of them that had to wait."),
    ("postponed", "calls_postponed", "Calls turned away: the wait would have been too long."),
    ("refused", "calls_refused", "Answers 429 of Plaid's."),
)
Mode = Literal["livemostrecent", "livesum"]
BUDGET_STATES: tuple[tuple[str, Mode, str], ...] = (
    ("limit", "livemostrecent", "Calls a minute in force for the client."),
    ("remaining_share", "livemostrecent", "The part of them that is not spent in this window, 0 to 1."),
    ("adapted_share", "livemostrecent", "What refusals have left of the configured limit, 0 to 1."),
    ("waiting", "livesum", "Calls that wait now."),
    ("alone", "livesum", "Processes that pace themselves because Redis is away."),
)


class Metrics:
    """This process's counters, all in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        # First, for a scrape collects in the order of registration.
        registry.register(_Refresh(self))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.syncs = Counter("manna_syncs", SYNCS, ("trigger", "outcome", "error_code"), registry=registry)
        of_time = ("trigger", "outcome")
        self.seconds = Histogram(
            "manna_sync_duration_seconds", SYNC_SECONDS, of_time, registry=registry, buckets=SECONDS
        )
        self.pages = Counter("manna_sync_pages", "Pages of committed syncs.", registry=registry)
        self.changes = Counter("manna_sync_changes", CHANGES, ("change",), registry=registry)
        self.restarts = Counter("manna_sync_restarts", RESTARTS, registry=registry)
        self.audit = {
            name: Counter(f"manna_{name}", meaning, labels, registry=registry) for name, meaning, labels in AUDIT
        }
        self._budget_counts = {
            figure: Counter(f"manna_plaid_{name}", meaning, registry=registry)
            for figure, name, meaning in BUDGET_COUNTS
        }
        self._budget_states = {
            name: Gauge(f"manna_plaid_budget_{name}", meaning, registry=registry, multiprocess_mode=mode)
            for name, mode, meaning in BUDGET_STATES
        }
        self._key = Gauge("manna_encryption_key_info", KEY, ("key_id",), registry=registry, multiprocess_mode="livemax")
        self._key_id: str | None = None
        self._budget: Budget | None = None
        self._counted = dict.fromkeys(self._budget_counts, 0)
        # A scrape comes in a thread of its own.
        self._lock = threading.Lock()

    def sync_ended(self, trigger: SyncTrigger, outcome: Outcome, seconds: float) -> None:
        """Count a sync by how it ended."""
        status = outcome.status.value
        self.syncs.labels(trigger.value, status, word(outcome.error_code)).inc()
        if outcome.status.value != "skipped":
            self.seconds.labels(trigger.value, status).observe(seconds)
        if (work := outcome.work) is not None:
            self.pages.inc(work.pages)
            self.restarts.inc(work.restarts)
            for change in ("added", "modified", "removed"):
                self.changes.labels(change).inc(getattr(work, change))

    def audit_counted(self, name: str, amount: int, **labels: str) -> None:
        """Take a count of the audit log's (`core.audit.counting`)."""
        counter = self.audit[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def follow(self, budget: Budget) -> None:
        """Show this process's budget from now on; another one's counts begin anew, the counters go on."""
        if budget is not self._budget:
            with self._lock:
                self._budget, self._counted = budget, dict.fromkeys(self._budget_counts, 0)
        self.refresh()

    def refresh(self) -> None:
        """Take over what the keyring and the budget say now."""
        with self._lock:
            self._show_key()
            if self._budget is None:
                return
            figures = self._budget.figures()
            for name, gauge in self._budget_states.items():
                gauge.set(float(getattr(figures, name)))
            for name, counter in self._budget_counts.items():
                now = getattr(figures, name)
                counter.inc(now - self._counted[name])
                self._counted[name] = now

    def _show_key(self) -> None:
        if (keyring := installed_keyring()) is None:
            return
        key_id = keyring.primary.key_id
        if self._key_id not in {None, key_id}:
            self._key.labels(self._key_id).set(0)
        self._key.labels(key_id).set(1)
        self._key_id = key_id


class _Refresh(Collector):
    """Brings the key's and the budget's figures up to date before each scrape; has none of its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        self._metrics.refresh()
        return ()


def word(text: str | None) -> str:
    """Return a label's value: an error code as it is, empty for none, `OTHER` for what is no code."""
    if text is None:
        return ""
    return text if WORD.fullmatch(text) else "OTHER"


_installed: list[Metrics] = []


def install_metrics() -> Metrics:
    """Count in this process from now on; a second call returns the same."""
    if not _installed:
        _installed.append(Metrics())
        counting.install_counter(_installed[0].audit_counted)
    return _installed[0]


def count_sync(trigger: SyncTrigger, outcome: Outcome, seconds: float, budget: Budget) -> None:
    """Count a sync that ended, if this process counts."""
    for metrics in _installed:
        metrics.sync_ended(trigger, outcome, seconds)
        metrics.follow(budget)


def count_crash(trigger: SyncTrigger, error: str) -> None:
    """Count a sync that an unexpected error ended, if this process counts."""
    for metrics in _installed:
        metrics.syncs.labels(trigger.value, "crashed", word(error)).inc()


def exposed(metrics: Metrics) -> CollectorRegistry:
    """Return the registry to serve: this process's counts, or with the prefork pool those of all its children."""
    if MULTIPROCESS not in os.environ:
        return metrics.registry
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client's own
    return registry
