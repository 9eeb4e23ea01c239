"""Beat, of which any number may run: one leads and ticks, the others look on, and one of them takes over."""

from datetime import UTC, datetime
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from redis.exceptions import RedisError

from worker.leadership import Leadership, Standing

log = structlog.get_logger()

LOOK_SECONDS = 1.0


class LedScheduler(Scheduler):  # type: ignore[misc]  # Celery publishes no types
    """Ticks while its beat leads, from where the leader before it stopped.

    A tick is written down before it is sent: no entry is sent twice for one tick. Only a leader that dies between the
    two loses it, and the entry comes again after its interval. While Redis is away nobody ticks, and nobody ends.
    """

    max_interval = LOOK_SECONDS
    leadership: Leadership | None = None
    _is_leading = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, if it is ours to send, and return how long to wait for the next look."""
        if not self._leads():
            return LOOK_SECONDS
        return min(float(super().tick(*args, **kwargs)), LOOK_SECONDS)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send an entry, unless another has begun to lead meanwhile."""
        if self._claims(entry.name):
            super().apply_entry(entry, producer=producer)
        else:
            # Its time was not written down: whoever leads next finds it due.
            self._is_leading = False

    def close(self) -> None:
        """Let another lead at once."""
        leadership, self.leadership = self.leadership, None
        super().close()
        if leadership is not None:
            try:
                leadership.resign()
            except RedisError as error:
                log.warning("beat_cannot_resign", error=type(error).__name__)

    @property
    def info(self) -> str:
        """What Celery's banner says of it."""
        return "    . one of any number leads"

    def _leads(self) -> bool:
        if self.leadership is None:
            return False
        try:
            standing = self.leadership.hold()
            if not (self._is_leading and standing is Standing.LEADS):
                self._follow(self.leadership.ticks())
        except RedisError as error:
            log.warning("beat_cannot_tell_who_leads", error=type(error).__name__)
            standing = Standing.LOOKS_ON
        leads = standing is not Standing.LOOKS_ON
        if leads != self._is_leading:
            log.info("beat_leads" if leads else "beat_looks_on", beat=self.leadership.name)
        self._is_leading = leads
        return leads

    def _claims(self, entry: str) -> bool:
        try:
            return self.leadership is not None and self.leadership.claim(
                entry, self.schedule[entry].last_run_at.timestamp()
            )
        except RedisError:
            return False

    def _follow(self, ticks: dict[str, float]) -> None:
        """Take over when each entry last ticked; one that never did begins with this beat."""
        for name, entry in self.schedule.items():
            if name in ticks:
                entry.last_run_at = datetime.fromtimestamp(ticks[name], UTC)
        self._heap = None
