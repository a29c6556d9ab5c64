import { SpanKind, type Tracer, trace } from "@opentelemetry/api";
import { Client, connect } from "../client/index.js";
import { SCENES } from "./scenes.js";
import * as telemetry from "./telemetry.js";

/** Shows every scene, over one connection, as all of a backend's requests go; whether all went well. */
async function show(tracer: Tracer): Promise<boolean> {
  const connection = connect(process.env.RUNWRIGHT_TARGET ?? "127.0.0.1:50051");
  const client = new Client(connection.transport);
  try {
    for (const [name, scene] of Object.entries(SCENES)) {
      try {
        await tracer.startActiveSpan(`example.${name}`, { kind: SpanKind.CLIENT }, (span) =>
          scene(client).finally(() => span.end()),
        );
      } catch (error) {
        console.error(`failed: ${name}:`, error);
        return false;
      }
      console.log(`ok: ${name}`);
    }
    return true;
  } finally {
    connection.close();
  }
}

const provider = telemetry.install();
const well = await show(trace.getTracer("runwright-example"));
await provider.shutdown();
process.exitCode = well ? 0 : 1;
