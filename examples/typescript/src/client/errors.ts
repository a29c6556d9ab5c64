import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type BadRequest_FieldViolation,
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.js";
import {
  type AuthChallenge,
  AuthChallengeSchema,
  type RunProgress,
  RunProgressSchema,
} from "../gen/runwright/v1/run_pb.js";

const DOMAIN = "runwright.dev";

/** A call that failed, with all that its details say. */
export class RunwrightError extends Error {
  override readonly name = "RunwrightError";
  readonly code: Code;
  /** The name of an `ErrorReason` without its prefix. Empty: the connection broke, or a proxy answered. */
  readonly reason: string;
  readonly requestId: string;
  readonly runId: string;
  /** Whether the run began. False: nothing ran, no upstream was asked. Undefined: nobody knows. */
  readonly admitted: boolean | undefined;
  readonly toolCallsStarted: number;
  /** The fields of the request that are wrong. */
  readonly violations: readonly BadRequest_FieldViolation[];
  /** An MCP server's refusal of a credential. */
  readonly challenge: AuthChallenge | undefined;
  /** What an admitted run had done. */
  readonly progress: RunProgress | undefined;
  /** How long to wait at least before the next attempt. Undefined: not told. */
  readonly retryDelayMs: number | undefined;
  /** The server forbids another attempt. */
  readonly retryForbidden: boolean;
  /** No connection could be made, so nothing was sent. */
  readonly neverSent: boolean;

  private constructor(error: ConnectError) {
    super(error.message, { cause: error });
    const find = <D extends DescMessage>(kind: D): MessageShape<D> | undefined =>
      error.findDetails(kind)[0];
    const found = find(ErrorInfoSchema);
    const info = found?.domain === DOMAIN ? found : undefined;
    const pushback = pushbackMs(error.metadata.get("grpc-retry-pushback-ms"));
    const delay = find(RetryInfoSchema)?.retryDelay;
    this.code = error.code;
    this.reason = info?.reason ?? "";
    this.requestId = info?.metadata.request_id ?? "";
    this.runId = info?.metadata.run_id ?? "";
    this.admitted = truth(info?.metadata.admitted);
    this.toolCallsStarted = Number(info?.metadata.tool_calls_started ?? 0);
    this.violations = find(BadRequestSchema)?.fieldViolations ?? [];
    this.challenge = find(AuthChallengeSchema);
    this.progress = find(RunProgressSchema);
    this.retryDelayMs = longest(delay && durationMs(delay), pushback);
    this.retryForbidden = pushback !== undefined && pushback < 0;
    this.neverSent = causes(error).some((cause) => cause.code === "ECONNREFUSED");
  }

  /** Reads an error of Connect's, its details and trailers included. */
  static from(reason: unknown): RunwrightError {
    return reason instanceof RunwrightError
      ? reason
      : new RunwrightError(ConnectError.from(reason));
  }

  /**
   * Whether the same request may be sent again by a machine.
   *
   * UNAVAILABLE alone is not enough. Without the service's ErrorInfo the connection may have broken in
   * mid-run, when tools had acted. With `admitted` true no tool was called, but a model may have been
   * asked and paid for; the service forbids machines to repeat that. ABORTED is never repeated: a tool
   * call had begun.
   */
  get mayRepeat(): boolean {
    const didNotRun = this.admitted === false || this.neverSent;
    return this.code === Code.Unavailable && didNotRun && !this.retryForbidden;
  }
}

/** Undefined if it is neither: a run of which nobody knows is not sent again. */
function truth(value: string | undefined): boolean | undefined {
  return value === "true" ? true : value === "false" ? false : undefined;
}

/** gRFC A6: a negative number, or what is none, means that there must be no other attempt. */
function pushbackMs(value: string | null): number | undefined {
  if (value === null) return undefined;
  return /^\d+$/.test(value) ? Number(value) : -1;
}

function longest(...waits: (number | undefined)[]): number | undefined {
  const told = waits.filter((wait): wait is number => wait !== undefined && wait >= 0);
  return told.length === 0 ? undefined : Math.max(...told);
}

/** What Node.js says of an error, and of those that caused it. */
function causes(error: Error): NodeJS.ErrnoException[] {
  const cause = error.cause;
  return cause instanceof Error ? [cause, ...causes(cause)] : [];
}
