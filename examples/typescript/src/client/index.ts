/** A client of Runwright: runs, streamed runs, and what goes wrong in them. */

export {
  bearer,
  Client,
  type Headers,
  type Run,
  type RunOptions,
  RunStream,
} from "./client.js";
export { RunwrightError } from "./errors.js";
export { DEFAULT_RETRY, type RetryPolicy } from "./retry.js";
export { type Connection, connect } from "./transport.js";
