"""The single edge between Celery's threads and the process's event loop. It knows no task."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

import structlog
from celery import Task

from core.broker.messages import Message
from core.process import current_process
from core.resources import Resources
from core.telemetry import tracing
from core.telemetry.spans import TRACEPARENT, Kind

log = structlog.get_logger()

UseCase = Callable[[Resources], Coroutine[Any, Any, Any]]


class AsyncTask(Task):  # type: ignore[misc]  # Celery publishes no types
    """Runs a task's use case in the process's loop, within the time limit; the pool's thread only waits.

    A failure of ours is logged by its type and not retried here: what has to be done is in the database, which is
    where the dispatcher finds it again.
    """

    abstract = True
    ignore_result = True
    acks_late = True
    reject_on_worker_lost = True

    def run_async(self, use_case: UseCase) -> None:
        """Run the use case and wait for it, in the trace that the message came with, if any."""
        bound = structlog.contextvars.bound_contextvars(task=self.name, task_id=self.request.id)
        with bound, self._trace():
            current_process().run(use_case, float(self.app.conf.manna_time_limit))

    def _trace(self) -> AbstractContextManager[None]:
        parent = self.request.get(TRACEPARENT)
        if parent is None:
            return tracing.OFF
        name, kind = f"process {self.name}", Kind.CONSUMER
        return tracing.span(name, kind, parent=parent, task_id=self.request.id)


def options(message: type[Message]) -> dict[str, Any]:
    """Return what every task of a message is declared with."""
    return {"name": message.wire_name, "base": AsyncTask, "bind": True}
