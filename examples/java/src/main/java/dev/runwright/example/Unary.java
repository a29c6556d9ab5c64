package dev.runwright.example;

import dev.runwright.client.RunwrightClient;
import dev.runwright.v1.RunRequest;
import dev.runwright.v1.RunResponse;
import io.opentelemetry.context.Context;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Runs one agent for two users at the same time, each with a token of their own. */
final class Unary implements Scene {
  @Override
  public void play(RunwrightClient client) {
    ExecutorService pool = Executors.newFixedThreadPool(2);
    try {
      // The scene's span is that of these threads, too.
      var threads = Context.taskWrapping(pool);
      CompletableFuture.allOf(
              CompletableFuture.runAsync(() -> askAs(client, "alice", "Alice"), threads),
              CompletableFuture.runAsync(() -> askAs(client, "bob", "Bob"), threads))
          .join();
    } finally {
      pool.shutdown();
    }
  }

  private void askAs(RunwrightClient client, String user, String name) {
    // What the backend's own caller sent, or its filter made.
    String requestId = "example-java-" + user;
    RunRequest request =
        RunRequest.newBuilder()
            .setAgent("support")
            .setInput("Who am I, and what have I ordered?")
            .putAllPerRunMcpHeaders(Tokens.of(user).bearer(SHOP))
            .build();
    RunResponse response = client.run(request, settings().withRequestId(requestId));
    String answer = response.getFinalOutput();
    check(answer.contains(name), "the answer for %s is %s", name, answer);
    String echoed = response.getRequestId();
    check(echoed.equals(requestId), "request id %s came back as %s", requestId, echoed);
  }
}
