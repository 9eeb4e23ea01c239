"""structlog, once a process: JSON lines in production, readable lines in development, secrets in neither."""

import logging
import sys
from typing import Any

import structlog
from structlog.types import EventDict, Processor

from core.away import is_database_away, is_redis_away
from core.settings import Environment
from core.telemetry.redaction import redact
from core.telemetry.tracing import add_trace_ids

QUIET = {"asyncio": logging.WARNING, "httpx": logging.WARNING, "celery.redirected": logging.WARNING}


def _redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return redact(event)


def _name_celery_task(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Give Celery's own lines about a task the fields that ours have."""
    record = event.get("_record")
    about = getattr(record, "data", None)
    if isinstance(about, dict) and "id" in about:
        event.setdefault("task_id", about["id"])
        event.setdefault("task", about.get("name"))
    return event


def _shorten_outage(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Make one line of a server that is away: where it was missed tells nothing, and a fleet misses it all at once."""
    about = event.get("exc_info")
    error = about[1] if isinstance(about, tuple) else about
    if isinstance(error, BaseException) and (is_database_away(error) or is_redis_away(error)):
        del event["exc_info"]
        event["error"] = type(error).__name__
    if str(event.get("logger")).startswith("celery.worker.consumer"):
        event["event"] = " ".join(str(event["event"]).split())
    return event


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        add_trace_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def configure_logs(environment: Environment, level: str = "INFO") -> None:
    """Send structlog's and the standard library's records to stderr, one line each, through the redaction.

    Tracebacks are rendered before the redaction, so that a secret in an exception's text is masked as well.
    """
    development = environment is Environment.DEVELOPMENT
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if development
        else structlog.processors.JSONRenderer()
    )
    final: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _shorten_outage,
        structlog.processors.format_exc_info,
        _redact_event,
        render,
    ]
    handler = logging.StreamHandler(sys.stderr)
    foreign = [*_shared(), _name_celery_task]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=final))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name, at_least in QUIET.items():
        logging.getLogger(name).setLevel(at_least)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
