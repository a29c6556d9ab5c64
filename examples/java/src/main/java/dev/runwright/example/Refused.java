package dev.runwright.example;

import com.google.rpc.BadRequest.FieldViolation;
import dev.runwright.client.Admission;
import dev.runwright.client.RunwrightClient;
import dev.runwright.client.RunwrightException;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunRequest;
import io.grpc.Status;

/**
 * Brings headers for an MCP server that there is not: the error names the field, and nothing ran.
 */
final class Refused implements Scene {
  @Override
  public void play(RunwrightClient client) {
    RunRequest request =
        RunRequest.newBuilder()
            .setAgent("support")
            .setInput("Who am I?")
            .putAllPerRunMcpHeaders(Tokens.of("alice").bearer("shopp"))
            .build();
    RunwrightException e = failure(() -> client.run(request, settings()));
    check(e.code() == Status.Code.INVALID_ARGUMENT, "%s", e.getMessage());
    check(e.reason() == ErrorReason.ERROR_REASON_UNKNOWN_MCP_SERVER, "%s", e.getMessage());
    check(e.admission() == Admission.NOT_ADMITTED, "it may have run: %s", e.getMessage());
    check(e.violations().size() == 1, "violations %s", e.violations());
    FieldViolation violation = e.violations().get(0);
    check(!violation.getField().isEmpty(), "violation %s", violation);
    check(violation.getReason().equals("UNKNOWN_MCP_SERVER"), "violation %s", violation);
  }
}
