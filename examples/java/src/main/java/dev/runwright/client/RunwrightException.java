package dev.runwright.client;

import com.google.rpc.BadRequest.FieldViolation;
import dev.runwright.v1.AuthChallenge;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunProgress;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A run or a control call that failed. Its cause has the gRPC status. */
public final class RunwrightException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient Status status;
  private final transient ErrorDetails details;

  private RunwrightException(StatusRuntimeException cause, ErrorDetails details) {
    super(message(cause, details), cause);
    this.status = cause.getStatus();
    this.details = details;
  }

  /** Reads what the service told of a failure. */
  static RunwrightException of(StatusRuntimeException cause) {
    return new RunwrightException(cause, ErrorDetails.of(cause));
  }

  /** The gRPC status code. */
  public Status.Code code() {
    return status.getCode();
  }

  /** Unspecified where the error is not the service's own, or a newer service's. */
  public ErrorReason reason() {
    return details.reason();
  }

  /**
   * The reason as it was sent, also one of a newer service. Empty: the error is not the service's
   * own.
   */
  public Optional<String> reasonName() {
    return Optional.of(details.info().getReason()).filter(name -> !name.isEmpty());
  }

  /** What goes with the reason, by the names that {@link ErrorReason} tells. */
  public Map<String, String> metadata() {
    return details.info().getMetadataMap();
  }

  /** Finds the request in the service's log. */
  public Optional<String> requestId() {
    return Optional.ofNullable(metadata().get("request_id"));
  }

  /** Empty for a run that was not admitted. */
  public Optional<String> runId() {
    return Optional.ofNullable(metadata().get("run_id"));
  }

  /** Whether the run had begun. */
  public Admission admission() {
    return details.admission();
  }

  /** All fields of the request that are wrong. */
  public List<FieldViolation> violations() {
    return details.violations();
  }

  /** How long to wait before the next attempt. */
  public Optional<Duration> retryDelay() {
    return details.retryDelay();
  }

  /** An MCP server's refusal of a credential. */
  public Optional<AuthChallenge> challenge() {
    return details.challenge();
  }

  /** What an admitted run had done. */
  public Optional<RunProgress> progress() {
    return details.progress();
  }

  /** The word of a server or a proxy about the next attempt (gRFC A6). */
  Optional<String> pushback() {
    return details.pushback();
  }

  private static String message(StatusRuntimeException cause, ErrorDetails details) {
    Status status = cause.getStatus();
    if (details.info().getReason().isEmpty()) {
      return "%s: %s".formatted(status.getCode(), status.getDescription());
    }
    return "%s, %s: %s (request %s)"
        .formatted(
            status.getCode(),
            details.info().getReason(),
            status.getDescription(),
            details.info().getMetadataOrDefault("request_id", ""));
  }
}
