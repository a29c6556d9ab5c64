package dev.runwright.client;

import io.grpc.Deadline;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * What goes with a run beside its request.
 *
 * @param deadline when the run must have ended, all attempts included; the service is told of it,
 *     and the run ends in time to say how far it came
 * @param requestId names the request that the run is made for: it goes to all MCP servers and
 *     models of the run, and stands in all its log lines and spans; it is no idempotency key, and
 *     the same for all attempts
 */
public record CallSettings(Deadline deadline, String requestId) {
  /** Settings with so much time from now on, and a request id of their own. */
  public static CallSettings within(Duration timeout) {
    return new CallSettings(
        Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS), UUID.randomUUID().toString());
  }

  /** These settings with another request id. */
  public CallSettings withRequestId(String requestId) {
    return new CallSettings(deadline, requestId);
  }
}
