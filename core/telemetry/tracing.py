"""Traces, off by default: what happens to an Item from its webhook through the queue to the commit, as one tree.

Nothing of OpenTelemetry is imported before `install_tracing`; without it a span costs a look at an empty list. Where
work is done for several Items together a parent is named, as `traceparent`: whatever is current there belongs to
whoever came first.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from core.errors import ConfigurationError
from core.settings import Settings
from core.telemetry.spans import Fact, Kind, Spans

OFF: AbstractContextManager[None] = nullcontext()
_installed: list[Spans] = []


def install_tracing(settings: Settings, service: str) -> None:
    """Trace in this process from now on, if `OTEL_TRACES_EXPORTER` says so.

    Everything else is OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`
    (`service` if it is not set).

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if settings.otel_traces_exporter == "none" or _installed:
        return
    try:
        from core.telemetry.opentelemetry_spans import OpenTelemetrySpans  # noqa: PLC0415 - costs nothing while off
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER is otlp, and {error.name} is not installed; accepted is none, or: pip install"
            " 'manna-sync[otel]'"
        ) from None
    _installed.append(OpenTelemetrySpans(service))


def close_tracing() -> None:
    """Send what waits, and trace no more."""
    while _installed:
        _installed.pop().close()


def is_traced() -> bool:
    """Tell whether this process traces."""
    return bool(_installed)


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    parent: str | None = None,
    links: Sequence[str] = (),
    **facts: Fact,
) -> AbstractContextManager[None]:
    """Return a span to be entered: of `parent`, or else of the current one; an error that leaves it is its status."""
    return _installed[0].span(name, kind, parent, links, facts) if _installed else OFF


def note(*, error: str | None = None, **facts: Fact) -> None:
    """Add to the current span what was found out within it, and the code of what went wrong."""
    for spans in _installed:
        spans.note(facts, error)


def link(traces: Sequence[str]) -> None:
    """Link the current span to those that led to it as well."""
    for spans in _installed:
        spans.link(traces)


def current() -> str | None:
    """Return the current span as `traceparent`; None when there is none, or tracing is off."""
    return _installed[0].current() if _installed else None


def add_trace_ids(_logger: Any, _method: str, event: Any) -> Any:
    """Put the trace's ids into a log line: a processor of structlog's."""
    for spans in _installed:
        event.update(spans.ids())
    return event
