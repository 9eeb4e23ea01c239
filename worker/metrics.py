"""A worker's metrics over HTTP, from its main process, for as long as it lives."""

import os
from collections.abc import Callable
from pathlib import Path

import structlog
from prometheus_client import start_http_server
from prometheus_client.multiprocess import mark_process_dead

from core.errors import ConfigurationError
from core.settings import Settings
from core.telemetry.metrics import MULTIPROCESS, exposed, install_metrics

log = structlog.get_logger()


def serve_metrics(settings: Settings, *, prefork: bool) -> Callable[[], None]:
    """Count in this process, serve what is counted on `METRICS_PORT` if there is one, and return what ends it.

    Raises:
        ConfigurationError: the port is taken, or prefork children have no directory to meet in.
    """
    if settings.metrics_port == 0:
        return lambda: None
    if prefork:
        _clear_directory()
    try:
        server, thread = start_http_server(
            settings.metrics_port, settings.metrics_host, registry=exposed(install_metrics())
        )
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise ConfigurationError(
            f"METRICS_PORT cannot be used, {where}: {error.strerror}; accepted is a free port, one for each worker"
        ) from None
    log.info("metrics_served", host=settings.metrics_host, port=settings.metrics_port)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def forget_child(pid: int) -> None:
    """Take the gauges of a prefork child that has ended off the page; its counts stay."""
    if MULTIPROCESS in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # prometheus_client's own


def _clear_directory() -> None:
    """Remove what an earlier worker's children left."""
    directory = Path(os.environ.get(MULTIPROCESS, ""))
    if MULTIPROCESS not in os.environ or not directory.is_dir():
        raise ConfigurationError(
            f"{MULTIPROCESS} is no directory; with METRICS_PORT and the prefork pool accepted is an empty one, for"
            " this worker alone"
        )
    for file in directory.glob("*.db"):
        file.unlink()
