import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { ATTR_SERVICE_NAME } from "@opentelemetry/semantic-conventions";

/**
 * Makes spans, and exports them if OTEL_EXPORTER_OTLP_ENDPOINT says where to. The exporter reads that
 * variable itself. Without it spans are ids, which calls still carry.
 */
export function install(): NodeTracerProvider {
  const exports = process.env.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined;
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ [ATTR_SERVICE_NAME]: "example-typescript" }),
    spanProcessors: exports ? [new BatchSpanProcessor(new OTLPTraceExporter())] : [],
  });
  provider.register();
  return provider;
}
