"""How the console says things: times, figures, names of states."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

MINUTE, HOUR, DAY = 60, 3600, 86400
EXACT = 9.95
# What a redirect may say to the page that it leads to; nothing else of the address is ever shown.
NOTICES = {
    "sync": "The sync is on its way. What it brings appears below.",
    "reconcile": "The comparison with Plaid is on its way. What it finds appears below.",
    "removed": "The Item is out of service. Plaid is asked to forget it until it agrees.",
    "verify": "The verification is on its way. What it finds appears below.",
    "replay": "The replay has begun.",
    "stopped": "The replay is stopped. What is under way ends.",
    "resumed": "The replay goes on.",
    "logout": "You are logged out.",
}
STATUS_WORDS = {
    "active": "active",
    "needs_reauth": "needs its user",
    "error": "set aside",
    "revoked": "revoked",
    "removed": "removed",
}
STATUS_TONES = {
    "active": "good",
    "succeeded": "good",
    "finished": "good",
    "ok": "good",
    "needs_reauth": "warn",
    "open": "warn",
    "behind": "warn",
    "stopped": "warn",
    "waiting": "idle",
    "error": "bad",
    "failed": "bad",
    "failing": "bad",
    "hanging": "bad",
    "missing": "bad",
    "running": "busy",
    "releasing": "busy",
    "sent": "busy",
}


def number(value: float) -> str:
    """Return 12345 as 12,345."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """Return a span as people say it: 850 ms, 12 s, 5 min, 3 h, 2 d."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < EXACT:
        return f"{seconds:.1f} s"
    for unit, name, limit in ((1, "s", MINUTE), (MINUTE, "min", HOUR), (HOUR, "h", 2 * DAY)):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / DAY:.0f} d"


def relative(at: datetime, now: datetime | None = None) -> str:
    """Return how far a moment is from now: `5 min ago`, `in 2 h`."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def planned(at: datetime, now: datetime | None = None) -> str:
    """Return when something will be: `in 2 h`, or `due now` when its time has come."""
    return relative(at, now) if at > (now or datetime.now(UTC)) else "due now"


def instant(at: datetime) -> str:
    """Return a moment to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine(at: datetime) -> str:
    """Return a moment for programs, as HTML's `time` wants it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status_word(status: Any) -> str:
    """Return a status in a person's words."""
    return STATUS_WORDS.get(str(status), str(status).replace("_", " "))


def tone(status: Any) -> str:
    """Return a status's colour: good, warn, bad, busy, or idle. Never the only thing that tells it."""
    return STATUS_TONES.get(str(status), "idle")


def address(path: str, **asked: Any) -> str:
    """Return a link with those parameters that say something."""
    given = {name: str(value) for name, value in asked.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "duration": duration,
    "relative": relative,
    "planned": planned,
    "instant": instant,
    "machine": machine,
    "status_word": status_word,
    "tone": tone,
    "address": address,
}
