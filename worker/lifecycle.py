"""When a worker opens and closes its event loop: after the fork in prefork, at start in every other pool."""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import structlog
from celery import signals
from celery.concurrency.prefork import TaskPool as PreforkPool

from core.broker.publisher import SENT_AT
from core.broker.rabbitmq import ping_broker
from core.errors import MannaError
from core.process import close_process, open_process, preflight
from core.redis_connection import open_blocking_redis, open_redis, ping_redis
from core.settings import Settings
from core.telemetry.metrics import install_metrics
from core.telemetry.tracing import close_tracing, install_tracing
from worker.beat import LedScheduler
from worker.leadership import Leadership
from worker.metrics import forget_child, serve_metrics

log = structlog.get_logger()


def connect(settings: Settings) -> None:
    """Bind Celery's signals to this process's resources; a start that fails ends with one line."""
    ends: list[Callable[[], None]] = []

    def start(sender: Any = None, **_: Any) -> None:
        prefork = issubclass(getattr(sender, "pool_cls", object), PreforkPool)
        # The children open their own; what is wrong with the settings shall still show here, and once.
        or_exit(lambda: preflight(settings) if prefork else _open(settings))
        or_exit(lambda: ends.append(serve_metrics(settings, prefork=prefork)))

    def start_child(**_: Any) -> None:
        if settings.metrics_port:
            install_metrics()
        or_exit(lambda: _open(settings))

    def stop_child(pid: int = 0, **_: Any) -> None:
        forget_child(pid)
        _close()

    def start_beat(sender: Any = None, **_: Any) -> None:
        or_exit(lambda: asyncio.run(_preflight(settings)))
        if isinstance(sender.scheduler, LedScheduler):
            sender.scheduler.leadership = Leadership(open_blocking_redis(settings))

    def stop(**_: Any) -> None:
        while ends:
            ends.pop()()
        _close()

    signals.before_task_publish.connect(_date, weak=False)
    signals.worker_init.connect(start, weak=False)
    signals.worker_process_init.connect(start_child, weak=False)
    signals.beat_init.connect(start_beat, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)
    signals.worker_process_shutdown.connect(stop_child, weak=False)


def _date(headers: dict[str, Any] | None = None, **_: Any) -> None:
    # Beat's messages tell how long they have waited, as the publisher's do.
    if headers is not None:
        headers.setdefault(SENT_AT, time.time())


def _open(settings: Settings) -> None:
    # After a fork, for its thread does not live through one; before the loop, whose first line may be traced.
    install_tracing(settings, "manna-worker")
    open_process(settings)


def _close() -> None:
    close_process()
    close_tracing()


async def _preflight(settings: Settings) -> None:
    redis = open_redis(settings)
    try:
        await ping_redis(redis, settings)
        await ping_broker(settings)
    finally:
        await redis.aclose()


def or_exit(action: Callable[[], object]) -> None:
    """Do it, or end the process with the error's one line.

    Celery logs what a signal's receiver raises and goes on: a worker without its loop would answer every ping and fail
    every task.
    """
    try:
        action()
    except MannaError as error:
        sys.exit(f"manna: {error}")
    except Exception as error:  # noqa: BLE001 - whatever it is, a process that did not start has to end
        # Where it was, and not its text, which may hold a value.
        sys.stderr.writelines(traceback.format_tb(error.__traceback__))
        sys.exit(f"manna: cannot start: {type(error).__name__}")
