import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { FakeService, OVERLOADED, type Refusal, refuse } from "../example/fake.js";
import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { AgentService } from "../gen/runwright/v1/agent_service_pb.js";
import { Client } from "./client.js";
import { RunwrightError } from "./errors.js";
import { withRetry } from "./retry.js";
import { connect } from "./transport.js";

const POLICY = { maxAttempts: 3, initialBackoffMs: 1, maxBackoffMs: 2, multiplier: 2 };
const OPTIONS = { headers: async () => ({}), timeoutMs: 5_000 };

async function attempts(refusal: Refusal): Promise<number> {
  const service = new FakeService(Array(5).fill(refusal));
  const run = service.during(({ transport }) => new Client(transport, POLICY).run({}, OPTIONS));
  await assert.rejects(run, RunwrightError);
  return service.requestIds.length;
}

const CASES: [string, Refusal, number][] = [
  ["a run that did not begin", OVERLOADED, 3],
  ["with RetryInfo", { ...OVERLOADED, retryAfterMs: 1 }, 3],
  ["with a pushback", { ...OVERLOADED, pushbackMs: "1" }, 3],
  ["with a pushback that forbids it", { ...OVERLOADED, pushbackMs: "-1" }, 1],
  ["with a pushback that is no number", { ...OVERLOADED, pushbackMs: "soon" }, 1],
  ["a run that began", { ...OVERLOADED, admitted: true }, 1],
  ["somebody else's word", { ...OVERLOADED, domain: "proxy.example.com" }, 1],
  ["a run whose tools were called", { ...OVERLOADED, code: Code.Aborted, admitted: true }, 1],
  ["a wait that the deadline does not allow", { ...OVERLOADED, pushbackMs: "60000" }, 1],
];

for (const [name, refusal, expected] of CASES) {
  test(`${name}: ${expected} attempts`, async () => {
    assert.equal(await attempts(refusal), expected);
  });
}

test("a stream is sent again until it has begun, and then never", async () => {
  const service = new FakeService([OVERLOADED], OVERLOADED);
  const events: (string | undefined)[] = [];
  const work = service.during(async ({ transport }) => {
    for await (const event of await new Client(transport, POLICY).runStreamed({}, OPTIONS)) {
      events.push(event.event.case);
    }
  });
  await assert.rejects(work, { reason: "OVERLOADED" });
  assert.deepEqual(events, ["runStarted"]);
  assert.equal(service.requestIds.length, 2);
});

test("what could not be sent is sent again", async () => {
  // Nobody listens on the port of a service that has ended.
  let asked = 0;
  const headers = async () => {
    asked += 1;
    return {};
  };
  const gone = connect("127.0.0.1:1");
  const run = new Client(gone.transport, POLICY).run({}, { ...OPTIONS, headers });
  await assert.rejects(run, (error) => error instanceof RunwrightError && error.neverSent);
  assert.equal(asked, 3);
  gone.close();
});

test("headers that never come hold a run up until its deadline, or its caller's abort", async () => {
  const asked: AbortSignal[] = [];
  const headers = (signal: AbortSignal) => {
    asked.push(signal);
    return new Promise<never>(() => {});
  };
  await new FakeService([]).during(async ({ transport }) => {
    const client = new Client(transport, POLICY);
    const late = client.run({}, { headers, timeoutMs: 1 });
    await assert.rejects(late, { name: "RunwrightError", code: Code.DeadlineExceeded });
    const signal = AbortSignal.abort();
    const left = client.runStreamed({}, { headers, timeoutMs: 60_000, signal });
    await assert.rejects(left, { name: "RunwrightError", code: Code.Canceled });
  });
  assert.deepEqual(
    asked.map((signal) => signal.aborted),
    [true, true],
  );
});

test("a run of which nobody says whether it began is not sent again", () => {
  for (const [word, admitted] of [
    ["true", true],
    ["false", false],
    ["False", undefined],
    ["", undefined],
  ] as const) {
    const value = { domain: "runwright.dev", reason: "OVERLOADED", metadata: { admitted: word } };
    const detail = { desc: ErrorInfoSchema, value };
    const error = RunwrightError.from(new ConnectError("", Code.Unavailable, {}, [detail]));
    assert.equal(error.admitted, admitted);
    assert.equal(error.mayRepeat, admitted === false);
  }
});

test("an abort while it waits for the next attempt is an error as any other", async () => {
  const abort = new AbortController();
  let asked = 0;
  const run = withRetry(POLICY, 60_000, abort.signal, async () => {
    asked += 1;
    // After the microtasks in which the wait begins.
    setImmediate(() => abort.abort());
    throw RunwrightError.from(refuse({ ...OVERLOADED, retryAfterMs: 2_000 }));
  });
  await assert.rejects(
    run,
    (error) => error instanceof RunwrightError && error.code === Code.Canceled,
  );
  assert.equal(asked, 1);
});

test("a stream that ends without its last event throws, and is read once", async () => {
  await new FakeService([]).during(async ({ transport }) => {
    const run = await new Client(transport, POLICY).runStreamed({}, OPTIONS);
    const read = async () => {
      for await (const event of run) assert.equal(event.event.case, "runStarted");
    };
    await assert.rejects(read, /run_completed/);
    await assert.rejects(read, /read once/);
  });
});

test("a stream that is closed ends, read or not", async () => {
  let leave = () => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const transport = createRouterTransport(({ service }) => {
    service(AgentService, {
      async *runStreamed(_, call) {
        call.signal.addEventListener("abort", leave);
        yield { runId: "run", sequence: 1, event: { case: "runStarted", value: {} } } as const;
        await left;
      },
    });
  });
  const run = await new Client(transport, POLICY).runStreamed({}, OPTIONS);
  await run[Symbol.asyncDispose]();
  await left;
  const events = run[Symbol.asyncIterator]();
  await events.next();
  await assert.rejects(events.next(), { code: Code.Canceled });
});
