package dev.runwright.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.Metadata;
import io.grpc.Status.Code;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RetryPolicyTest {
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
  private static final RetryPolicy POLICY =
      new RetryPolicy(3, Duration.ofMillis(100), Duration.ofMillis(150));

  @ParameterizedTest
  @CsvSource({
    "refused,                     1, UNAVAILABLE,      false,    , true",
    "refused for the second time, 2, UNAVAILABLE,      false,    , true",
    "refused too often,           3, UNAVAILABLE,      false,    , false",
    "failed after it had begun,   1, UNAVAILABLE,      true,     , false",
    "a connection that broke,     1, UNAVAILABLE,      ,         , false",
    "failed after a tool call,    1, ABORTED,          true,     , false",
    "a wrong request,             1, INVALID_ARGUMENT, false,    , false",
    "forbidden by pushback,       1, UNAVAILABLE,      false,  -1, false",
    "pushback that is no number,  1, UNAVAILABLE,      false, soon, false",
  })
  void sendsAgainOnlyWhatNeverRan(
      String name, int attempts, Code code, String admitted, String pushback, boolean again) {
    var failure = failure(code, admitted, pushback, Duration.ZERO);
    assertEquals(again, POLICY.next(attempts, failure).isPresent(), name);
  }

  @Test
  void waitsLongerEachTime() {
    var refused = failure(Code.UNAVAILABLE, "false", null, Duration.ZERO);
    for (int i = 0; i < 100; i++) {
      assertBetween(Duration.ZERO, Duration.ofMillis(100), POLICY.next(1, refused));
      assertBetween(Duration.ZERO, Duration.ofMillis(150), POLICY.next(2, refused));
    }
  }

  @Test
  void waitsAsLongAsTheServiceAsks() {
    Duration second = Duration.ofSeconds(1);
    var asked = failure(Code.UNAVAILABLE, "false", null, second);
    assertBetween(second, second.plusMillis(100), POLICY.next(1, asked));
    var pushed = failure(Code.UNAVAILABLE, "false", "30", second);
    assertEquals(Optional.of(Duration.ofMillis(30)), POLICY.next(1, pushed));
  }

  private static void assertBetween(Duration least, Duration most, Optional<Duration> wait) {
    assertTrue(wait.orElseThrow().compareTo(least) >= 0, wait::toString);
    assertTrue(wait.orElseThrow().compareTo(most) <= 0, wait::toString);
  }

  private static RunwrightException failure(
      Code code, String admitted, String pushback, Duration retryAfter) {
    var status = Status.newBuilder().setCode(code.value());
    if (admitted != null) {
      var info =
          ErrorInfo.newBuilder().setDomain("runwright.dev").putMetadata("admitted", admitted);
      status.addDetails(Any.pack(info.build()));
    }
    if (!retryAfter.isZero()) {
      var delay = com.google.protobuf.Duration.newBuilder().setSeconds(retryAfter.toSeconds());
      status.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
    }
    Metadata trailers = new Metadata();
    if (pushback != null) {
      trailers.put(PUSHBACK, pushback);
    }
    return RunwrightException.of(StatusProto.toStatusRuntimeException(status.build(), trailers));
  }
}
