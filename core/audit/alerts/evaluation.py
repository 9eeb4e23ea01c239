"""Counts events in sliding windows. Pure: the same events give the same alerts, whoever evaluates them and when."""

from collections.abc import Iterable
from typing import Any

import msgspec

from core.audit.alerts.rules import OWN_FIELDS, Rule, Severity
from core.audit.chain import SealedEvent

# A window moves in twelfths: precise enough to alert, small enough to store.
BUCKETS = 12
# Of more keys than this the busiest are kept from one look to the next, so that the state stays small.
KEYS_A_RULE = 1000


class Window(msgspec.Struct):
    """The recent counts of one rule for one key; `quiet_until` keeps an alert from being repeated in its window."""

    counts: dict[int, int] = msgspec.field(default_factory=dict)
    quiet_until: float = 0.0


class Alert(msgspec.Struct, frozen=True):
    """A rule that was met; `key` is the value of its `group_by`, `last_seq` the event that met it."""

    rule: str
    severity: Severity
    key: str | None
    count: int
    window_seconds: int
    last_seq: int


Windows = dict[str, dict[str, Window]]


def evaluate(rules: Iterable[Rule], windows: Windows, events: Iterable[SealedEvent]) -> list[Alert]:
    """Return the alerts that `events` lead to, counting on in `windows`, which is changed in place."""
    by_type: dict[str, list[Rule]] = {}
    for rule in rules:
        windows.setdefault(rule.name, {})
        for name in rule.types:
            by_type.setdefault(name, []).append(rule)
    alerts = [
        _count(rule, windows[rule.name], event)
        for event in events
        for rule in by_type.get(event.content.event_type, ())
    ]
    for of_rule in windows.values():
        _keep_busiest(of_rule)
    return [alert for alert in alerts if alert is not None]


def _count(rule: Rule, of_rule: dict[str, Window], event: SealedEvent) -> Alert | None:
    at = event.content.occurred_at.timestamp()
    bucket = int(at // (rule.window_seconds / BUCKETS))
    key = _key(rule, event)
    window = of_rule.setdefault(key, Window())
    window.counts = {number: count for number, count in window.counts.items() if number > bucket - BUCKETS}
    window.counts[bucket] = window.counts.get(bucket, 0) + 1
    if (total := sum(window.counts.values())) < rule.threshold or at < window.quiet_until:
        return None
    window.quiet_until = at + rule.window_seconds
    return Alert(rule.name, rule.severity, key or None, total, rule.window_seconds, event.seq)


def _keep_busiest(of_rule: dict[str, Window]) -> None:
    newest = max((number for window in of_rule.values() for number in window.counts), default=0)
    for key in [key for key, window in of_rule.items() if max(window.counts) <= newest - BUCKETS]:
        del of_rule[key]
    if len(of_rule) > KEYS_A_RULE:
        busiest = sorted(of_rule, key=lambda key: sum(of_rule[key].counts.values()), reverse=True)
        for key in busiest[KEYS_A_RULE:]:
            del of_rule[key]


def _key(rule: Rule, event: SealedEvent) -> str:
    if rule.group_by is None:
        return ""
    content: Any = event.content
    value = getattr(content, rule.group_by) if rule.group_by in OWN_FIELDS else content.context.get(rule.group_by)
    return "" if value is None else str(value)
