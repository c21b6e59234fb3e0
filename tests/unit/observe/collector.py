"""An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP, in the protocol's own messages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Spans as they came, and the headers of each request. ``status`` is what it answers with."""

    def __init__(self) -> None:
        self.spans: list = []
        self.resources: list = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.location: str | None = None
        self.url = ""
        self._came = threading.Condition()

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._came:
            self.headers.append(headers)
            for told in request.resource_spans:
                self.resources.append(told.resource)
                for scope in told.scope_spans:
                    self.spans += scope.spans
            self._came.notify_all()

    def named(self, name: str) -> list:
        """Return the spans of this name, one that came twice once."""
        return list({span.span_id: span for span in list(self.spans) if span.name == name}.values())

    def wait_for(self, name: str, timeout_s: float = 60) -> None:
        """Wait until a span of this name came."""
        with self._came:
            assert self._came.wait_for(lambda: self.named(name), timeout_s), [s.name for s in self.spans]

    def wait_for_requests(self, number: int, timeout_s: float = 60) -> None:
        """Wait until so many requests came."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.headers) >= number, timeout_s)


def attributes(span) -> dict:
    return {item.key: item.value.string_value for item in span.attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a free port."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.take(self.rfile.read(int(headers["content-length"])), headers)
            self.send_response(kept.status)
            if kept.location is not None:
                self.send_header("location", kept.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        try:
            yield kept
        finally:
            server.shutdown()
            serving.join()
