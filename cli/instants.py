"""Points in time as people type them: an instant in ISO 8601, or so long ago."""

import re
from datetime import UTC, datetime, timedelta

import typer

AGO = re.compile(r"(\d{1,6})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
ACCEPTED = "2026-01-31 or 2026-01-31T08:00:00Z, in UTC unless it says otherwise, or so long ago: 90m, 24h, 7d"


def parse_instant(given: str | None) -> datetime | None:
    """Return the instant, in UTC, or None for None.

    Raises:
        typer.BadParameter: it is neither an instant nor a span.
    """
    if given is None:
        return None
    try:
        return _instant(given.strip())
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no time; accepted is {ACCEPTED}") from None
    except OverflowError:
        raise typer.BadParameter(f"{given!r} is outside of the calendar; accepted is {ACCEPTED}") from None


def _instant(text: str) -> datetime:
    if span := AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{UNITS[span[2]]: int(span[1])})
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
