package dev.runwright.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.runwright.v1.AuthChallenge;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunProgress;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** What came with a status. */
record ErrorDetails(
    ErrorInfo info,
    List<FieldViolation> violations,
    Optional<Duration> retryDelay,
    Optional<AuthChallenge> challenge,
    Optional<RunProgress> progress,
    Optional<String> pushback) {
  private static final String DOMAIN = "runwright.dev";
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  static ErrorDetails of(StatusRuntimeException failure) {
    List<Any> details = details(failure);
    return new ErrorDetails(
        // A proxy has reasons of its own.
        all(details, ErrorInfo.class)
            .filter(info -> info.getDomain().equals(DOMAIN))
            .findFirst()
            .orElse(ErrorInfo.getDefaultInstance()),
        detail(details, BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of()),
        detail(details, RetryInfo.class).map(ErrorDetails::delay),
        detail(details, AuthChallenge.class),
        detail(details, RunProgress.class),
        Optional.ofNullable(failure.getTrailers()).map(trailers -> trailers.get(PUSHBACK)));
  }

  ErrorReason reason() {
    String name = "ERROR_REASON_" + info.getReason();
    return Arrays.stream(ErrorReason.values())
        .filter(reason -> reason.name().equals(name))
        .findAny()
        .orElse(ErrorReason.ERROR_REASON_UNSPECIFIED);
  }

  Admission admission() {
    return switch (info.getMetadataOrDefault("admitted", "")) {
      case "true" -> Admission.ADMITTED;
      case "false" -> Admission.NOT_ADMITTED;
      default -> Admission.UNKNOWN;
    };
  }

  private static List<Any> details(StatusRuntimeException failure) {
    try {
      return StatusProto.fromThrowable(failure).getDetailsList();
    } catch (IllegalArgumentException e) {
      // The details can't be read, or are those of another code: somebody in between changed it.
      return List.of();
    }
  }

  private static <T extends Message> Optional<T> detail(List<Any> details, Class<T> type) {
    return all(details, type).findFirst();
  }

  private static <T extends Message> Stream<T> all(List<Any> details, Class<T> type) {
    return details.stream().filter(any -> any.is(type)).flatMap(any -> unpack(any, type).stream());
  }

  private static <T extends Message> Optional<T> unpack(Any any, Class<T> type) {
    try {
      return Optional.of(any.unpack(type));
    } catch (InvalidProtocolBufferException e) {
      // What can't be read must not hide the status that it came with.
      return Optional.empty();
    }
  }

  private static Duration delay(RetryInfo retry) {
    return Duration.ofSeconds(retry.getRetryDelay().getSeconds(), retry.getRetryDelay().getNanos());
  }
}
