"""The OpenTelemetry SDK, as a backend sets it up once."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def install() -> TracerProvider:
    """Makes spans, and exports them if OTEL_EXPORTER_OTLP_ENDPOINT says where to.

    The exporter reads that variable itself. Without it spans are ids, which calls still carry.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": "example-python"}))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider
