package dev.runwright.example;

import dev.runwright.client.RunwrightClient;
import dev.runwright.v1.FinishReason;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunRequest;

/** Prints the answer as it comes. */
final class Streamed implements Scene {
  @Override
  public void play(RunwrightClient client) {
    RunRequest request =
        RunRequest.newBuilder()
            .setAgent("support")
            .setInput("Who am I, and what have I ordered?")
            .putAllPerRunMcpHeaders(Tokens.of("alice").bearer(SHOP))
            .build();
    RunEvent last = RunEvent.getDefaultInstance();
    try (var run = client.runStreamed(request, settings())) {
      for (RunEvent event : run) {
        int expected = last.getSequence() + 1;
        check(
            event.getSequence() == expected, "event %d came as %d", expected, event.getSequence());
        System.out.print(event.getTextDelta().getText());
        last = event;
      }
    }
    System.out.println();
    FinishReason finished = last.getRunCompleted().getFinishReason();
    check(finished == FinishReason.FINISH_REASON_STOP, "the run ended with %s", finished);
  }
}
