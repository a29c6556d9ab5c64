import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Code,
  type Client as ConnectClient,
  ConnectError,
  createClient,
  type Transport,
} from "@connectrpc/connect";
import {
  AgentService,
  type InputAnswerSchema,
  type RunRequestSchema,
} from "../gen/runwright/v1/agent_service_pb.js";
import type { RunEvent } from "../gen/runwright/v1/event_pb.js";
import type { HeaderSetSchema } from "../gen/runwright/v1/headers_pb.js";
import type { RunResponse } from "../gen/runwright/v1/run_pb.js";
import { RunwrightError } from "./errors.js";
import { DEFAULT_RETRY, type RetryPolicy, withRetry } from "./retry.js";

/** Headers by MCP server. */
export type Headers = Record<string, MessageInitShape<typeof HeaderSetSchema>>;

/** A run's request, but for its headers. */
export type Run = Omit<MessageInitShape<typeof RunRequestSchema>, "$typeName" | "perRunMcpHeaders">;

export interface RunOptions {
  /**
   * Gives the run's headers. It is asked before each attempt: tokens grow old while one waits. The
   * signal goes off when nobody waits for them any more, at the deadline or the caller's abort.
   */
  readonly headers: (signal: AbortSignal) => Promise<Headers>;
  /** Holds for all attempts together, and is the run's deadline at the service. */
  readonly timeoutMs: number;
  /** The `x-request-id`, which stays the same when the request is sent again. One is made if absent. */
  readonly requestId?: string;
  /** Aborting it ends the run. */
  readonly signal?: AbortSignal;
}

const CONTROL = { timeoutMs: 10_000 };

/** The headers that show a token to one MCP server. */
export function bearer(server: string, token: string): Headers {
  return { [server]: { headers: { authorization: `Bearer ${token}` } } };
}

/** The run's headers, unless they take longer than the run has time. */
async function inTime({ headers, signal }: RunOptions, remainingMs: number): Promise<Headers> {
  const deadline = new AbortController();
  const ends = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal;
  const late = new ConnectError("the run's headers took too long", Code.DeadlineExceeded);
  const timer = setTimeout(() => deadline.abort(late), remainingMs);
  const given = Promise.resolve(ends).then(headers);
  let end = () => {};
  const ended = new Promise<never>((_, reject) => {
    end = () => reject(RunwrightError.from(ends.reason));
    ends.addEventListener("abort", end);
    if (ends.aborted) end();
  });
  try {
    return await Promise.race([given, ended]);
  } finally {
    clearTimeout(timer);
    // Node keeps a signal that is listened to for as long as the caller's lives.
    ends.removeEventListener("abort", end);
  }
}

/** A client over a transport that it does not own. Many runs may share it. */
export class Client {
  readonly #agents: ConnectClient<typeof AgentService>;
  readonly #retry: RetryPolicy;

  constructor(transport: Transport, retry: RetryPolicy = DEFAULT_RETRY) {
    this.#agents = createClient(AgentService, transport);
    this.#retry = retry;
  }

  /** Runs an agent. */
  async run(run: Run, options: RunOptions): Promise<RunResponse> {
    const headers = requestId(options);
    const { signal, timeoutMs } = options;
    return withRetry(this.#retry, timeoutMs, signal, async (remainingMs) => {
      const request = { ...run, perRunMcpHeaders: await inTime(options, remainingMs()) };
      const call = { headers, timeoutMs: remainingMs(), ...(signal && { signal }) };
      return typed(this.#agents.run(request, call));
    });
  }

  /**
   * Runs an agent and gives its events. It is sent again only while no event has come: a run that
   * began is never repeated. Read its events, or close it: until then the run goes on.
   */
  async runStreamed(run: Run, options: RunOptions): Promise<RunStream> {
    const headers = requestId(options);
    return withRetry(this.#retry, options.timeoutMs, options.signal, async (remainingMs) => {
      const request = { ...run, perRunMcpHeaders: await inTime(options, remainingMs()) };
      const abort = new AbortController();
      const signal = options.signal
        ? AbortSignal.any([options.signal, abort.signal])
        : abort.signal;
      const call = { headers, timeoutMs: remainingMs(), signal };
      const events = this.#agents.runStreamed(request, call)[Symbol.asyncIterator]();
      const first = await typed(events.next());
      if (first.done || first.value.event.case !== "runStarted") {
        abort.abort();
        throw new Error("a stream begins with run_started");
      }
      const { controlToken } = first.value.event.value;
      return new RunStream(this.#agents, abort, events, first.value, controlToken);
    });
  }
}

/** The events of a live run, and the calls that steer it, over the stream's own connection. */
export class RunStream implements AsyncIterable<RunEvent> {
  readonly runId: string;
  readonly #agents: ConnectClient<typeof AgentService>;
  readonly #abort: AbortController;
  readonly #events: AsyncIterator<RunEvent>;
  readonly #first: RunEvent;
  /** A capability: whoever has it steers the run. */
  readonly #controlToken: string;
  #read = false;

  constructor(
    agents: ConnectClient<typeof AgentService>,
    abort: AbortController,
    events: AsyncIterator<RunEvent>,
    first: RunEvent,
    controlToken: string,
  ) {
    this.runId = first.runId;
    this.#agents = agents;
    this.#abort = abort;
    this.#events = events;
    this.#first = first;
    this.#controlToken = controlToken;
  }

  /**
   * The events, once, from the first. The last is `runCompleted`; a run that fails throws instead.
   * Leaving the loop ends the RPC, and so the run, if it has not ended.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, undefined> {
    if (this.#read) throw new Error("the events of a run can be read once");
    this.#read = true;
    try {
      let event: RunEvent | undefined = this.#first;
      let completed = false;
      for (let sequence = 1; event !== undefined; sequence++) {
        if (event.sequence !== sequence) {
          throw new Error(`event ${sequence} is missing: ${event.sequence} came`);
        }
        completed = event.event.case === "runCompleted";
        yield event;
        event = await this.#next();
      }
      if (!completed) throw new Error("the stream ended without run_completed");
    } finally {
      this.close();
    }
  }

  /** Ends the RPC, and so the run, if it has not ended. Needed only where events are not read. */
  close(): void {
    this.#abort.abort();
  }

  /** What `await using` calls. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Ends the run with a reason; its stream then ends with RUN_CANCELLED. */
  async cancel(reason: string): Promise<void> {
    await typed(this.#agents.cancelRun({ ...this.#ids(), reason }, CONTROL));
  }

  /** Replaces the run's headers for the named servers, as `credentialsRequired` asks for. */
  async updateHeaders(headers: Headers): Promise<void> {
    const request = { ...this.#ids(), perRunMcpHeaders: headers };
    await typed(this.#agents.updateRunHeaders(request, CONTROL));
  }

  /** Answers `approvalRequired` and `clientToolRequired`. */
  async submit(answers: MessageInitShape<typeof InputAnswerSchema>[]): Promise<void> {
    await typed(this.#agents.submitRunInput({ ...this.#ids(), answers }, CONTROL));
  }

  async #next(): Promise<RunEvent | undefined> {
    const next = await typed(this.#events.next());
    return next.done ? undefined : next.value;
  }

  #ids(): { runId: string; controlToken: string } {
    return { runId: this.runId, controlToken: this.#controlToken };
  }
}

function requestId(options: RunOptions): { "x-request-id": string } {
  return { "x-request-id": options.requestId ?? randomUUID() };
}

async function typed<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (reason) {
    throw RunwrightError.from(reason);
  }
}
