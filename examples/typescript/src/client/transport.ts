import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { context, propagation } from "@opentelemetry/api";

/** A connection to the service. */
export interface Connection {
  readonly transport: Transport;
  /** Closes it, and ends what still goes over it. */
  close(): void;
}

/**
 * Connects to `host:port` in plaintext, once the first call is made; with TLS the URL would be `https://`.
 *
 * Share one among all callers of the process. A session manager keeps one HTTP/2 connection, so that
 * control calls reach the instance that holds a streamed run. It opens another only once the service
 * has said that the first one ends (GOAWAY). The service waits with that for a moment in which no run
 * of the connection is live, until that is twice `server.max_connection_age` old (an hour).
 * Transports without a common session manager have connections of their own.
 */
export function connect(target: string): Connection {
  const baseUrl = `http://${target}`;
  const sessionManager = new Http2SessionManager(baseUrl, {
    // A ping after 30 s in which nothing came, while calls are open. The service takes any pace of
    // pings, but proxies in front of it may not, and most take this one.
    pingIntervalMs: 30_000,
    pingTimeoutMs: 10_000,
  });
  const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors: [tracing] });
  return { transport, close: () => sessionManager.abort() };
}

/**
 * Sends the caller's trace context. OpenTelemetry's own instrumentation is for `@grpc/grpc-js` alone,
 * and patches it; an interceptor says the same in three lines.
 */
const tracing: Interceptor = (next) => (request) => {
  const set = (headers: Headers, name: string, value: string) => headers.set(name, value);
  propagation.inject(context.active(), request.header, { set });
  return next(request);
};
