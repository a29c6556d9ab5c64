import { setTimeout as sleep } from "node:timers/promises";
import { RunwrightError } from "./errors.js";

/** How often a run that was refused is sent again, and how soon. */
export interface RetryPolicy {
  readonly maxAttempts: number;
  readonly initialBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly multiplier: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  maxAttempts: 4,
  initialBackoffMs: 100,
  maxBackoffMs: 5_000,
  multiplier: 2,
};

/** How long to wait after a failed attempt, counted from 1; undefined: do not try again. */
export function retryDelayMs(
  policy: RetryPolicy,
  attempt: number,
  error: RunwrightError,
): number | undefined {
  if (attempt >= policy.maxAttempts || !error.mayRepeat) return undefined;
  const exponential = policy.initialBackoffMs * policy.multiplier ** (attempt - 1);
  // Full jitter on our own wait. What the server asks for is a least, so jitter comes on top.
  const jitter = Math.random() * Math.min(policy.maxBackoffMs, exponential);
  return (error.retryDelayMs ?? 0) + jitter;
}

/**
 * Calls `attempt` with what tells the time that is left, which all attempts and waits share.
 *
 * Connect has no retries. gRPC's own (a service config, in `@grpc/grpc-js`) heed pushback, but see the
 * status code alone: neither `admitted` nor RetryInfo. A run is nothing to repeat on a guess.
 */
export async function withRetry<T>(
  policy: RetryPolicy,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  attempt: (remainingMs: () => number) => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  // Whole milliseconds: `grpc-timeout` takes no fractions.
  const remainingMs = () => Math.max(1, Math.ceil(deadline - performance.now()));
  for (let number = 1; ; number++) {
    try {
      return await attempt(remainingMs);
    } catch (error) {
      // What gives headers may fail, too, and has its own word on that.
      if (!(error instanceof RunwrightError)) throw error;
      const delay = retryDelayMs(policy, number, error);
      if (delay === undefined || performance.now() + delay >= deadline) throw error;
      await sleep(delay, undefined, signal && { signal }).catch((reason) => {
        // The caller's abort: Code.Canceled, as in the middle of an attempt.
        throw RunwrightError.from(reason);
      });
    }
  }
}
