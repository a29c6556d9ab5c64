package dev.runwright.example;

import dev.runwright.client.RunwrightClient;
import dev.runwright.client.RunwrightException;
import dev.runwright.client.StreamedRun;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunRequest;
import io.grpc.Status;
import java.util.function.Consumer;

/**
 * Ends runs midway: one by ending its call, as a backend does whose own caller leaves, and one by
 * CancelRun, as a backend does where somebody else ends it.
 */
final class Cancelled implements Scene {
  @Override
  public void play(RunwrightClient client) {
    RunwrightException left = failure(() -> endMidway(client, StreamedRun::close));
    check(left.code() == Status.Code.CANCELLED, "a run whose caller left: %s", left.getMessage());

    RunwrightException cancelled =
        failure(() -> endMidway(client, run -> run.cancel("the customer closed the chat")));
    check(
        cancelled.code() == Status.Code.ABORTED
            && cancelled.reason() == ErrorReason.ERROR_REASON_RUN_CANCELLED,
        "a run that was cancelled: %s",
        cancelled.getMessage());
  }

  /** Runs an agent whose tool takes long, and ends the run when the tool is called. */
  private void endMidway(RunwrightClient client, Consumer<StreamedRun> end) {
    RunRequest request =
        RunRequest.newBuilder()
            .setAgent("deliveries")
            .setInput("Has my order arrived?")
            .putAllPerRunMcpHeaders(Tokens.of("alice").bearer(SHOP))
            .build();
    try (var run = client.runStreamed(request, settings())) {
      for (RunEvent event : run) {
        if (event.hasToolCallStarted()) {
          end.accept(run);
        }
      }
    }
  }
}
