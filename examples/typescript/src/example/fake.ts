import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { connect } from "../client/index.js";
import type { Connection } from "../client/transport.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { AgentService } from "../gen/runwright/v1/agent_service_pb.js";

/** An error with its details and trailers. */
export interface Refusal {
  readonly code: Code;
  readonly reason: string;
  readonly admitted: boolean;
  readonly domain?: string;
  readonly retryAfterMs?: number;
  readonly pushbackMs?: string;
}

/** A service that refuses once for each refusal, then answers. Streams begin then, and end with `breaks`. */
export class FakeService {
  readonly requestIds: (string | null)[] = [];
  readonly #refusals: Refusal[];
  readonly #breaks: Refusal | undefined;

  constructor(refusals: Refusal[], breaks?: Refusal) {
    this.#refusals = [...refusals];
    this.#breaks = breaks;
  }

  /** Serves on a free port while `work` goes over a connection to it. */
  async during<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const routes = (router: ConnectRouter) =>
      void router.service(AgentService, {
        run: (_, call) => this.#run(call.requestHeader),
        runStreamed: (_, call) => this.#runStreamed(call.requestHeader),
      });
    const server = createServer(connectNodeAdapter({ routes })).listen(0, "127.0.0.1");
    await once(server, "listening");
    const connection = connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    try {
      return await work(connection);
    } finally {
      connection.close();
      server.close();
    }
  }

  #run(headers: Headers) {
    this.#attempt(headers);
    return { finalOutput: "done" };
  }

  async *#runStreamed(headers: Headers) {
    this.#attempt(headers);
    yield { runId: "run", sequence: 1, event: { case: "runStarted", value: {} } } as const;
    if (this.#breaks) throw refuse(this.#breaks);
  }

  /** Notes the attempt's request id, and refuses it if it is to be. */
  #attempt(headers: Headers): void {
    this.requestIds.push(headers.get("x-request-id"));
    const refusal = this.#refusals.shift();
    if (refusal) throw refuse(refusal);
  }
}

/** The error that a refusal is. */
export function refuse(refusal: Refusal): ConnectError {
  const { domain = "runwright.dev", pushbackMs, reason, retryAfterMs } = refusal;
  const metadata = { admitted: String(refusal.admitted) };
  const trailers = pushbackMs === undefined ? {} : { "grpc-retry-pushback-ms": pushbackMs };
  const error = new ConnectError("refused", refusal.code, trailers, [
    { desc: ErrorInfoSchema, value: { domain, reason, metadata } },
  ]);
  if (retryAfterMs !== undefined) {
    const retryDelay = { seconds: 0n, nanos: retryAfterMs * 1_000_000 };
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return error;
}

export const OVERLOADED: Refusal = {
  code: Code.Unavailable,
  reason: "OVERLOADED",
  admitted: false,
};
