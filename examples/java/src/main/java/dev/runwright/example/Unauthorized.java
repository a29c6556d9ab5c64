package dev.runwright.example;

import dev.runwright.client.Admission;
import dev.runwright.client.RunwrightClient;
import dev.runwright.client.RunwrightException;
import dev.runwright.v1.AuthChallenge;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunRequest;
import io.grpc.Status;

/**
 * Brings a token that has expired: the error has the MCP server's challenge. It is
 * FAILED_PRECONDITION, for UNAUTHENTICATED would be about the caller's credential to Runwright
 * itself.
 */
final class Unauthorized implements Scene {
  @Override
  public void play(RunwrightClient client) {
    RunRequest request =
        RunRequest.newBuilder()
            .setAgent("support")
            .setInput("Who am I?")
            .putAllPerRunMcpHeaders(Tokens.of("expired").bearer(SHOP))
            .build();
    RunwrightException e = failure(() -> client.run(request, settings()));
    check(e.code() == Status.Code.FAILED_PRECONDITION, "%s", e.getMessage());
    check(e.reason() == ErrorReason.ERROR_REASON_MCP_UNAUTHORIZED, "%s", e.getMessage());
    check(e.admission() == Admission.ADMITTED, "not admitted: %s", e.getMessage());
    check(e.runId().isPresent() && e.progress().isPresent(), "no progress: %s", e.getMessage());
    AuthChallenge challenge = e.challenge().orElseThrow();
    check(challenge.getMcpServer().equals(SHOP), "challenge %s", challenge);
    check(challenge.getScheme().equals("Bearer"), "challenge %s", challenge);
    check(challenge.getError().equals("invalid_token"), "challenge %s", challenge);
  }
}
