package dev.runwright.example;

import dev.runwright.client.RunwrightClient;
import dev.runwright.v1.OnUnauthorized;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunOptions;
import dev.runwright.v1.RunRequest;

/** Begins with a token that has expired, and brings a fresh one when the run asks for it. */
final class Refreshed implements Scene {
  @Override
  public void play(RunwrightClient client) {
    RunRequest request =
        RunRequest.newBuilder()
            .setAgent("support")
            .setInput("Who am I, and what have I ordered?")
            .putAllPerRunMcpHeaders(Tokens.of("expired").bearer(SHOP))
            .setOptions(
                RunOptions.newBuilder().setOnUnauthorized(OnUnauthorized.ON_UNAUTHORIZED_WAIT))
            .build();
    int asked = 0;
    String answer = "";
    try (var run = client.runStreamed(request, settings())) {
      for (RunEvent event : run) {
        switch (event.getEventCase()) {
          case CREDENTIALS_REQUIRED -> {
            String server = event.getCredentialsRequired().getCredentials().getMcpServer();
            run.updateHeaders(Tokens.of("alice").bearer(server));
            asked++;
          }
          case RUN_COMPLETED -> answer = event.getRunCompleted().getFinalOutput();
          default -> {}
        }
      }
    }
    check(asked == 1, "the run asked for credentials %d times", asked);
    check(answer.contains("Alice"), "the answer is %s", answer);
  }
}
