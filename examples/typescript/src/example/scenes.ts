import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { bearer, Client, type Run, RunwrightError } from "../client/index.js";
import { OnUnauthorized } from "../gen/runwright/v1/agent_service_pb.js";
import type { RunEvent } from "../gen/runwright/v1/event_pb.js";
import { FinishReason, type PendingInput } from "../gen/runwright/v1/run_pb.js";
import { FakeService, OVERLOADED } from "./fake.js";
import { freshToken, shopHeaders } from "./tokens.js";

const QUESTION: Run = { agent: "support", input: "Who am I, and what have I ordered?" };
const CANCEL_ORDER: Run = { agent: "orders", input: "Please cancel my order #1001." };
const AWAIT_DELIVERY: Run = { agent: "deliveries", input: "Tell me when my orders are here." };

const timeoutMs = 20_000;
const asAlice = { headers: shopHeaders("alice"), timeoutMs };

/** Two users at once through one agent; each run has its own token, deadline and request id. */
async function unary(client: Client): Promise<void> {
  const ask = async (user: string, name: RegExp) => {
    const requestId = `${user}-${randomUUID()}`;
    const answer = await client.run(QUESTION, { headers: shopHeaders(user), timeoutMs, requestId });
    assert.match(answer.finalOutput, name);
    assert.equal(answer.requestId, requestId);
  };
  await Promise.all([ask("alice", /Alice/), ask("bob", /Bob/)]);
}

/** Text as it is said. `RunStream` has an eye on gaps in the sequence. */
async function streamed(client: Client): Promise<void> {
  let last: RunEvent | undefined;
  for await (const event of await client.runStreamed(QUESTION, asAlice)) {
    if (event.event.case === "textDelta") process.stdout.write(event.event.value.text);
    last = event;
  }
  process.stdout.write("\n");
  assert.match(answerOf(last), /Alice/);
}

/** A run that ends in the middle of a tool call, once by its RPC and once by CancelRun. */
async function cancelled(client: Client): Promise<void> {
  const abort = new AbortController();
  const options = { ...asAlice, signal: abort.signal };
  const gone = await failureOf(async () => {
    for await (const event of await client.runStreamed(AWAIT_DELIVERY, options)) {
      // What a backend does when its own caller has gone.
      if (event.event.case === "toolCallStarted") abort.abort();
    }
  });
  assert.equal(gone.code, Code.Canceled);

  const ended = await failureOf(async () => {
    const run = await client.runStreamed(AWAIT_DELIVERY, asAlice);
    for await (const event of run) {
      if (event.event.case === "toolCallStarted") await run.cancel("the user closed the page");
    }
  });
  assert.equal(ended.code, Code.Aborted);
  assert.equal(ended.reason, "RUN_CANCELLED");
  assert.equal(ended.toolCallsStarted, 1);
  assert.equal(ended.progress?.turns, 1);
}

/** A server's name with a typo: all that is wrong comes at once, and nothing ran. */
async function refused(client: Client): Promise<void> {
  const headers = async () => bearer("shopp", await freshToken("alice"));
  const error = await failureOf(() => client.run(QUESTION, { headers, timeoutMs }));
  assert.equal(error.code, Code.InvalidArgument);
  assert.equal(error.reason, "UNKNOWN_MCP_SERVER");
  assert.equal(error.admitted, false);
  const fields = error.violations.map((violation) => violation.field);
  assert.deepEqual(fields, ['per_run_mcp_headers["shopp"]']);
}

/** An expired token. The challenge says which server refused it, and why. */
async function unauthorized(client: Client): Promise<void> {
  const headers = shopHeaders("expired");
  const error = await failureOf(() => client.run(QUESTION, { headers, timeoutMs }));
  assert.equal(error.code, Code.FailedPrecondition);
  assert.equal(error.reason, "MCP_UNAUTHORIZED");
  assert.equal(error.admitted, true);
  assert.equal(error.toolCallsStarted, 0);
  assert.equal(error.challenge?.mcpServer, "shop");
  assert.equal(error.challenge.error, "invalid_token");
}

/** The same token, but the run waits for another one, and goes on with it. */
async function refreshed(client: Client): Promise<void> {
  const waiting: Run = { ...QUESTION, options: { onUnauthorized: OnUnauthorized.WAIT } };
  const run = await client.runStreamed(waiting, { headers: shopHeaders("expired"), timeoutMs });
  let last: RunEvent | undefined;
  let asked = 0;
  for await (const event of run) {
    if (event.event.case === "credentialsRequired") {
      asked += 1;
      const { input } = event.event.value;
      assert.equal(input.case, "credentials");
      await run.updateHeaders(bearer(input.value.mcpServer, await freshToken("alice")));
    }
    last = event;
  }
  assert.equal(asked, 1);
  assert.match(answerOf(last), /Alice/);
}

/** A tool that asks first. A stream waits for the answer; of unary runs another goes on. */
async function approved(client: Client): Promise<void> {
  const run = await client.runStreamed(CANCEL_ORDER, asAlice);
  let last: RunEvent | undefined;
  for await (const event of run) {
    if (event.event.case === "approvalRequired") await run.submit([approve(event.event.value)]);
    last = event;
  }
  assert.match(answerOf(last), /is cancelled/);

  const first = await client.run(CANCEL_ORDER, asAlice);
  assert.equal(first.finishReason, FinishReason.AWAITING_INPUT);
  const goesOn: Run = {
    agent: "orders",
    messages: [...(CANCEL_ORDER.messages ?? []), ...first.newMessages],
    answers: first.pending.map(approve),
  };
  const second = await client.run(goesOn, asAlice);
  assert.match(second.finalOutput, /is cancelled/);
}

/** What is sent again and what is not, against a service that refuses as it is told. */
async function retried(): Promise<void> {
  const overloaded = { ...OVERLOADED, retryAfterMs: 50 };
  const busy = new FakeService([overloaded, overloaded]);
  const answer = await busy.during(({ transport }) => new Client(transport).run(QUESTION, asAlice));
  assert.equal(answer.finalOutput, "done");
  assert.equal(busy.requestIds.length, 3);
  assert.equal(new Set(busy.requestIds).size, 1);

  const limited = { ...OVERLOADED, reason: "MODEL_RATE_LIMITED", admitted: true, pushbackMs: "-1" };
  const spent = new FakeService([limited]);
  const error = await failureOf(() =>
    spent.during(({ transport }) => new Client(transport).run(QUESTION, asAlice)),
  );
  assert.equal(error.reason, "MODEL_RATE_LIMITED");
  assert.equal(spent.requestIds.length, 1);
}

function approve(pending: PendingInput) {
  const answer = { case: "approval", value: { approved: true } } as const;
  return { inputId: pending.inputId, answer };
}

function answerOf(last: RunEvent | undefined): string {
  assert.equal(last?.event.case, "runCompleted");
  return last.event.value.finalOutput;
}

async function failureOf(work: () => Promise<unknown>): Promise<RunwrightError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof RunwrightError) return error;
    throw error;
  }
  assert.fail("it should have failed");
}

/** What a backend does with runs. All but the last need `make demo SERVE=1`. */
export const SCENES: Record<string, (client: Client) => Promise<void>> = {
  unary,
  streamed,
  cancelled,
  refused,
  unauthorized,
  refreshed,
  approved,
  retried,
};
