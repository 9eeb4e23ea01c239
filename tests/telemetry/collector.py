"""An OpenTelemetry collector on loopback: it takes spans over HTTP as the real one does, and keeps them."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Told:
    """A span that came in, and the service that it is of."""

    def __init__(self, service, span):
        self.service = service
        self.name = span.name
        self.kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace = span.trace_id.hex()
        self.id = span.span_id.hex()
        self.parent = span.parent_span_id.hex()
        self.links = {(link.trace_id.hex(), link.span_id.hex()) for link in span.links}
        self.facts = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
        self.error = span.status.message
        self.events = [event.name for event in span.events]


class Collector:
    """What came in, in the order in which it came."""

    def __init__(self):
        self.endpoint = ""
        self.bodies = []
        self.spans = []
        self._more = threading.Condition()

    def take(self, body):
        """Keep a request's spans."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._more:
            self.bodies.append(body)
            for part in request.resource_spans:
                (service,) = [one.value.string_value for one in part.resource.attributes if one.key == "service.name"]
                self.spans += [Told(service, span) for scope in part.scope_spans for span in scope.spans]
            self._more.notify_all()

    def wait_for(self, is_enough, seconds=60):
        """Return the spans once they are enough."""
        with self._more:
            assert self._more.wait_for(lambda: is_enough(self.spans), seconds), [one.name for one in self.spans]
            return list(self.spans)


@contextmanager
def open_collector():
    """Serve a collector until the end."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
