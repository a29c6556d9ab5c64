package dev.runwright.example;

import dev.runwright.client.RetryPolicy;
import dev.runwright.client.RunwrightClient;
import dev.runwright.client.RunwrightException;
import dev.runwright.fake.FakeService;
import dev.runwright.fake.FakeService.Arrival;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunRequest;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import java.io.IOException;
import java.time.Duration;
import java.util.List;

/**
 * Shows what the retry policy repeats and what it does not, against a service that refuses as it is
 * told to.
 */
final class Retried implements Scene {
  private static final Duration RETRY_AFTER = Duration.ofMillis(50);

  @Override
  public void play(RunwrightClient client) throws IOException {
    try (var service = new FakeService(2, FakeService.overloaded(RETRY_AFTER))) {
      runAgainst(service);
      List<Arrival> arrivals = service.arrivals();
      check(
          arrivals.size() == 3, "a run that was refused twice was sent %d times", arrivals.size());
      for (int i = 1; i < arrivals.size(); i++) {
        Duration waited = Duration.ofNanos(arrivals.get(i).nanos() - arrivals.get(i - 1).nanos());
        check(waited.compareTo(RETRY_AFTER) >= 0, "the client waited %s", waited);
      }
    }
    // It was admitted, and might have cost something: it would succeed the second time, but there
    // must be none.
    try (var service = new FakeService(1, FakeService.modelUnavailable())) {
      RunwrightException e = failure(() -> runAgainst(service));
      check(e.reason() == ErrorReason.ERROR_REASON_MODEL_UNAVAILABLE, "%s", e.getMessage());
      int sent = service.arrivals().size();
      check(sent == 1, "a run that failed after it was admitted was sent %d times", sent);
    }
  }

  private void runAgainst(FakeService service) {
    var channel = Grpc.newChannelBuilder(service.target(), InsecureChannelCredentials.create());
    try (var client = new RunwrightClient(channel, RetryPolicy.DEFAULT)) {
      RunRequest request =
          RunRequest.newBuilder().setAgent("support").setInput("Who am I?").build();
      client.run(request, settings());
    }
  }
}
