"""Celery's consumer, which is back soon after its broker is, however long that was away."""

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 2.0


class PromptConsumer(Consumer):  # type: ignore[misc]  # Celery publishes no types
    """Tries again every two seconds at most; Celery's own waits two seconds longer each time, up to thirty."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once the broker answers."""
        pace = {"interval_start": FIRST_SECONDS, "interval_step": FIRST_SECONDS, "interval_max": LONGEST_SECONDS}
        conn.ensure_connection = partial(conn.ensure_connection, **pace)
        return super().ensure_connected(conn)
