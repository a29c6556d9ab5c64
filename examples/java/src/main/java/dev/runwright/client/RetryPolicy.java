package dev.runwright.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Says when a run that failed is sent again: if its status is UNAVAILABLE and says that the run was
 * not admitted, so that nothing ran. It waits as long as the service asks, or else longer each
 * time.
 *
 * <p>gRPC's own retries, by service config, heed {@code grpc-retry-pushback-ms} but read no
 * details. UNAVAILABLE is what they see, too, when a connection breaks in the middle of a run,
 * without any pushback: they would have the run, and what its tools do, twice. ABORTED is a run
 * that failed after a tool call had begun, and is never sent again.
 *
 * @param maxAttempts how often a run is sent at most; one: it is not sent again
 * @param baseDelay the longest wait before the second attempt; it doubles with each one
 * @param maxDelay the longest wait that the service did not ask for
 */
public record RetryPolicy(int maxAttempts, Duration baseDelay, Duration maxDelay) {
  /** For a backend whose own caller waits. */
  public static final RetryPolicy DEFAULT =
      new RetryPolicy(4, Duration.ofMillis(100), Duration.ofSeconds(5));

  private static final int MAX_DOUBLINGS = 20;

  /** How long to wait before a run is sent again after so many attempts; empty: it is not. */
  Optional<Duration> next(int attempts, RunwrightException failure) {
    if (attempts >= maxAttempts
        || failure.code() != Status.Code.UNAVAILABLE
        || failure.admission() != Admission.NOT_ADMITTED) {
      return Optional.empty();
    }
    if (failure.pushback().isPresent()) {
      return pushedBack(failure.pushback().get());
    }
    // All of the wait is jitter, so that callers that were refused together do not come back
    // together; what the service
    // asks for is the least of it.
    Duration doubled = baseDelay.multipliedBy(1L << Math.min(attempts - 1, MAX_DOUBLINGS));
    Duration longest = doubled.compareTo(maxDelay) < 0 ? doubled : maxDelay;
    Duration jitter = Duration.ofNanos(ThreadLocalRandom.current().nextLong(longest.toNanos() + 1));
    return Optional.of(failure.retryDelay().orElse(Duration.ZERO).plus(jitter));
  }

  /** -1, and by gRFC A6 whatever is no number, forbids another attempt. */
  private static Optional<Duration> pushedBack(String millis) {
    try {
      return Optional.of(Duration.ofMillis(Integer.parseInt(millis))).filter(d -> !d.isNegative());
    } catch (NumberFormatException e) {
      return Optional.empty();
    }
  }
}
