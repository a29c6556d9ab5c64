package dev.runwright.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import dev.runwright.v1.AuthChallenge;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunProgress;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class RunwrightExceptionTest {
  @Test
  void hasAllThatTheServiceTold() {
    var delay = com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(5);
    var e =
        failure(
            info("runwright.dev", "MCP_UNAUTHORIZED"),
            BadRequest.newBuilder()
                .addFieldViolations(FieldViolation.newBuilder().setField("input"))
                .build(),
            RetryInfo.newBuilder().setRetryDelay(delay).build(),
            AuthChallenge.newBuilder().setMcpServer("shop").build(),
            RunProgress.newBuilder().setTurns(2).build());

    assertEquals(io.grpc.Status.Code.FAILED_PRECONDITION, e.code());
    assertEquals(ErrorReason.ERROR_REASON_MCP_UNAUTHORIZED, e.reason());
    assertEquals(Admission.ADMITTED, e.admission());
    assertEquals(Optional.of("request"), e.requestId());
    assertEquals(Optional.of("run"), e.runId());
    assertEquals("input", e.violations().get(0).getField());
    assertEquals(Optional.of(Duration.ofSeconds(1, 5)), e.retryDelay());
    assertEquals("shop", e.challenge().orElseThrow().getMcpServer());
    assertEquals(2, e.progress().orElseThrow().getTurns());
    assertEquals(
        "FAILED_PRECONDITION, MCP_UNAUTHORIZED: what was wrong (request request)", e.getMessage());
  }

  @Test
  void takesNoProxysWordForTheServices() {
    for (var e : new RunwrightException[] {failure(), failure(info("proxy", "OVERLOADED"))}) {
      assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, e.reason());
      assertTrue(e.reasonName().isEmpty());
      assertEquals(Admission.UNKNOWN, e.admission());
      assertTrue(e.requestId().isEmpty());
    }
  }

  @Test
  void namesWhatANewerServiceSaysAsItWasSent() {
    var e = failure(info("runwright.dev", "NEVER_HEARD_OF"));
    assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, e.reason());
    assertEquals(Optional.of("NEVER_HEARD_OF"), e.reasonName());
    assertEquals(Admission.ADMITTED, e.admission());
    assertEquals(
        "FAILED_PRECONDITION, NEVER_HEARD_OF: what was wrong (request request)", e.getMessage());
  }

  @Test
  void findsTheServicesWordBehindAProxys() {
    var e = failure(info("proxy", "OVERLOADED"), info("runwright.dev", "MCP_UNAUTHORIZED"));
    assertEquals(ErrorReason.ERROR_REASON_MCP_UNAUTHORIZED, e.reason());
    assertEquals(Admission.ADMITTED, e.admission());
  }

  /** What comes of a proxy that changes the code and leaves the details. */
  @Test
  void takesNoDetailsOfAnotherCode() {
    var status =
        Status.newBuilder()
            .setCode(Code.UNAVAILABLE_VALUE)
            .addDetails(Any.pack(info("runwright.dev", "OVERLOADED")));
    Metadata trailers = StatusProto.toStatusRuntimeException(status.build()).getTrailers();
    var e = RunwrightException.of(new StatusRuntimeException(io.grpc.Status.INTERNAL, trailers));
    assertEquals(io.grpc.Status.Code.INTERNAL, e.code());
    assertEquals(Admission.UNKNOWN, e.admission());
    assertTrue(e.reasonName().isEmpty());
  }

  private static ErrorInfo info(String domain, String reason) {
    return ErrorInfo.newBuilder()
        .setDomain(domain)
        .setReason(reason)
        .putMetadata("admitted", "true")
        .putMetadata("request_id", "request")
        .putMetadata("run_id", "run")
        .build();
  }

  private static RunwrightException failure(Message... details) {
    var status =
        Status.newBuilder().setCode(Code.FAILED_PRECONDITION_VALUE).setMessage("what was wrong");
    for (Message detail : details) {
      status.addDetails(Any.pack(detail));
    }
    StatusRuntimeException failure = StatusProto.toStatusRuntimeException(status.build());
    return RunwrightException.of(failure);
  }
}
