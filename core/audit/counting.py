"""Where the audit log counts what it does; a process with metrics installs their counter, the others do without."""

from typing import Protocol

CONTEXT_DROPPED = "audit_context_fields_dropped"
SEALED = "audit_events_sealed"
CHECKPOINTS_SIGNED = "audit_checkpoints_signed"
ALERTS = "audit_alerts"
ALERTS_UNDELIVERED = "audit_alerts_undelivered"


class Counter(Protocol):
    """Takes a count: `prometheus_client`'s counters, behind one call."""

    def __call__(self, name: str, amount: int, **labels: str) -> None:
        """Add `amount` to the counter called `name`; labels are words from closed sets, never ids."""


_installed: list[Counter] = []


def install_counter(counter: Counter) -> None:
    """Send every count of this process to `counter`."""
    _installed[:] = [counter]


def count(name: str, amount: int = 1, **labels: str) -> None:
    """Count something, if anybody listens."""
    for counter in _installed:
        counter(name, amount, **labels)
