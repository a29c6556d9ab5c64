import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "@connectrpc/connect";
import { FakeService, OVERLOADED, type Refusal } from "../example/fake.js";
import { Client } from "./client.js";
import { RunwrightError } from "./errors.js";
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
