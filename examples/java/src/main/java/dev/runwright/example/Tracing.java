package dev.runwright.example;

import io.grpc.ClientInterceptor;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.propagation.ContextPropagators;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.instrumentation.grpc.v1_6.GrpcTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.SdkTracerProviderBuilder;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;

/**
 * Spans by OpenTelemetry's SDK, which are exported if a collector is named. Without one, requests
 * carry the spans' context all the same.
 */
final class Tracing implements AutoCloseable {
  private static final AttributeKey<String> SERVICE_NAME = AttributeKey.stringKey("service.name");

  private final OpenTelemetrySdk openTelemetry;

  Tracing() {
    Resource service = Resource.create(Attributes.of(SERVICE_NAME, "example-java"));
    SdkTracerProviderBuilder provider = SdkTracerProvider.builder().setResource(service);
    String endpoint = System.getenv("OTEL_EXPORTER_OTLP_ENDPOINT");
    if (endpoint != null && !endpoint.isEmpty()) {
      String traces = endpoint.replaceFirst("/$", "") + "/v1/traces";
      var exporter = OtlpHttpSpanExporter.builder().setEndpoint(traces).build();
      provider.addSpanProcessor(BatchSpanProcessor.builder(exporter).build());
    }
    this.openTelemetry =
        OpenTelemetrySdk.builder()
            .setTracerProvider(provider.build())
            .setPropagators(ContextPropagators.create(W3CTraceContextPropagator.getInstance()))
            .build();
  }

  /** Makes a span of each RPC, and puts {@code traceparent} into its metadata. */
  ClientInterceptor interceptor() {
    return GrpcTelemetry.create(openTelemetry).createClientInterceptor();
  }

  SpanBuilder spanBuilder(String name) {
    return openTelemetry.getTracer("example").spanBuilder(name);
  }

  /** Sends the last spans. */
  @Override
  public void close() {
    openTelemetry.close();
  }
}
