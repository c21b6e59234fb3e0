"""Sending spans to an OpenTelemetry collector by OTLP over HTTP; the only home of OpenTelemetry's SDK.

The SDK's batch processor does the waiting on a thread of its own: bounded, and losing spans rather than
holding anything up. None of the SDK's global state is touched.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from node.errors import Misconfigured
from node.observe.job_spans import JobSpan

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

QUEUE: Final = 2048
BATCH: Final = 256
EVERY_MS: Final = 2000
TIMEOUT_S: Final = 10.0
LAST_S: Final = 3.0
"""What a node that ends gives the last spans."""


class OtlpSpans:
    """Takes spans and sends them in batches. Raises Misconfigured without the SDK."""

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str], sample_ratio: float, version: str
    ) -> None:
        try:
            import requests
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
        except ImportError as problem:
            raise Misconfigured(
                f'traces.enabled needs OpenTelemetry ({problem}): pip install "sdv-node[traces]", in a '
                "checkout uv pip install --python .venv opentelemetry-sdk==1.45.2 "
                "opentelemetry-exporter-otlp-proto-http==1.45.2, or set traces.enabled to false"
            ) from problem
        session = requests.Session()
        # A redirect would take spans and header where no setting says.
        session.max_redirects = 0
        exporter = OTLPSpanExporter(
            endpoint=endpoint, headers=dict(headers), timeout=TIMEOUT_S, session=session
        )
        self._processor: Final = BatchSpanProcessor(
            exporter, max_queue_size=QUEUE, max_export_batch_size=BATCH, schedule_delay_millis=EVERY_MS
        )
        self._sampler: Final = TraceIdRatioBased(sample_ratio)
        self._resource: Final = Resource({"service.name": "sdv-node", "service.version": version})

    def put(self, span: JobSpan) -> None:
        """Hand a span to the processor, if its trace is among those that are sent."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Status, StatusCode

        if not self._sampler.should_sample(None, span.trace_id, span.name).decision.is_sampled():  # type: ignore[no-untyped-call]
            return
        failed = span.failure is not None
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.trace_id, span.span_id),
                parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id),
                resource=self._resource,
                attributes=span.attributes,
                status=Status(StatusCode.ERROR, span.failure) if failed else Status(StatusCode.OK),
                start_time=round(span.began * 1e9),
                end_time=round(span.ended * 1e9),
                instrumentation_scope=InstrumentationScope("node.observe"),
            )
        )

    def close(self) -> None:
        """Send what is left, for a moment at most; call it off the event loop."""
        # The SDK's own shutdown may take as long as the collector is silent.
        ending = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(LAST_S)


def _context(trace_id: int, span_id: int) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
