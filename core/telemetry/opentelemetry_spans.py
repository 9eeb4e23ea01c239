"""Spans by OpenTelemetry, sent over HTTP to a collector. Imported only where tracing is on.

No exception's text and no traceback becomes part of a span, only its type: it could hold a secret.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.telemetry.spans import TRACEPARENT, Fact, Kind

# Our words for what OpenTelemetry's conventions have a name for; everything else is ours alone, under `manna.`.
CONVENTIONS = {
    "http_method": "http.request.method",
    "http_route": "http.route",
    "http_status": "http.response.status_code",
    "queue": "messaging.destination.name",
    "task_id": "messaging.message.id",
}


class OpenTelemetrySpans:
    """This process's spans. A collector that is away delays nothing: what does not fit its queue is dropped."""

    def __init__(self, service: str) -> None:
        # What the environment says of the service goes before our own word.
        resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("manna")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str | None, links: Sequence[str], facts: Mapping[str, Fact]
    ) -> Iterator[None]:
        """Make a span and let it be the current one."""
        with self._tracer.start_as_current_span(
            name,
            self._context(parent) if parent else None,
            kind=trace.SpanKind[kind.value],
            attributes=_attributes(facts),
            links=[trace.Link(self._span_context(one)) for one in links],
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            try:
                yield
            except BaseException as error:
                opened.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    def note(self, facts: Mapping[str, Fact], error: str | None) -> None:
        """Add to the current span."""
        current = trace.get_current_span()
        current.set_attributes(_attributes(facts))
        if error is not None:
            current.set_status(trace.StatusCode.ERROR, error)

    def link(self, traces: Sequence[str]) -> None:
        """Link the current span to others."""
        for one in traces:
            trace.get_current_span().add_link(self._span_context(one))

    def current(self) -> str | None:
        """Return the current span's `traceparent`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(TRACEPARENT)

    def ids(self) -> Mapping[str, str]:
        """Return the ids by which a log line is found from its trace."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(found.trace_id), "span_id": trace.format_span_id(found.span_id)}

    def close(self) -> None:
        """Send what waits, for as long as `OTEL_EXPORTER_OTLP_TIMEOUT` allows."""
        self._provider.shutdown()

    def _context(self, parent: str) -> Context:
        # Into an empty one: a parent that cannot be read shall not become whatever is current here.
        return self._propagator.extract({TRACEPARENT: parent}, Context())

    def _span_context(self, told: str) -> trace.SpanContext:
        return trace.get_current_span(self._context(told)).get_span_context()


def _attributes(facts: Mapping[str, Fact]) -> dict[str, str | int | float | bool]:
    named = {CONVENTIONS.get(name, f"manna.{name}"): value for name, value in facts.items()}
    return {name: value for name, value in named.items() if value is not None}
