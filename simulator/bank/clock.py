from datetime import UTC, date, datetime, timedelta


class Clock:
    """The simulator's time: the real one, until it is put forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC) + self._ahead

    def today(self) -> date:
        """Return the calendar day in UTC."""
        return self.now().date()

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead += timedelta(seconds=seconds)


def stamp(moment: datetime) -> str:
    """Return a time as Plaid writes it, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
