package dev.runwright.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.runwright.fake.FakeService;
import dev.runwright.fake.FakeService.Arrival;
import dev.runwright.v1.ErrorReason;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunRequest;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class RunwrightClientTest {
  private static final RunRequest REQUEST =
      RunRequest.newBuilder().setAgent("support").setInput("Who am I?").build();
  private static final CallSettings SETTINGS = CallSettings.within(Duration.ofMinutes(1));

  @Test
  void opensAStreamAgainThatWasRefused() throws IOException {
    try (var service = new FakeService(2, FakeService.overloaded(Duration.ofMillis(1)));
        var client = connect(service);
        var run = client.runStreamed(REQUEST, SETTINGS)) {
      RunEvent last = RunEvent.getDefaultInstance();
      for (RunEvent event : run) {
        last = event;
      }
      assertTrue(last.hasRunCompleted());
      assertEquals(2, last.getSequence());
      assertEquals(3, service.arrivals().size());
    }
  }

  @Test
  void keepsTheRequestIdOverAllAttempts() throws IOException {
    try (var service = new FakeService(1, FakeService.overloaded(Duration.ofMillis(1)));
        var client = connect(service)) {
      client.run(REQUEST, SETTINGS);
      List<Arrival> arrivals = service.arrivals();
      assertEquals(2, arrivals.size());
      assertNotNull(arrivals.get(0).requestId());
      assertEquals(arrivals.get(0).requestId(), arrivals.get(1).requestId());
    }
  }

  /**
   * What a connection looks like that breaks in the middle of a run, or a proxy that lost its
   * upstream.
   */
  @Test
  void doesNotSendAgainWhatMayHaveRun() throws IOException {
    var lost = Status.UNAVAILABLE.withDescription("connection reset").asRuntimeException();
    try (var service = new FakeService(1, lost);
        var client = connect(service)) {
      var e = assertThrows(RunwrightException.class, () -> client.run(REQUEST, SETTINGS));
      assertEquals(Admission.UNKNOWN, e.admission());
      assertEquals(1, service.arrivals().size());
    }
  }

  @Test
  void doesNotBeginAWaitThatTheDeadlineDoesNotAllow() throws IOException {
    try (var service = new FakeService(1, FakeService.overloaded(Duration.ofMinutes(2)));
        var client = connect(service)) {
      var e = assertThrows(RunwrightException.class, () -> client.run(REQUEST, SETTINGS));
      assertEquals(ErrorReason.ERROR_REASON_OVERLOADED, e.reason());
      assertFalse(SETTINGS.deadline().isExpired());
    }
  }

  @Test
  void controlsARunWithItsRequestIdAndADeadlineOfTheCallsOwn() throws IOException {
    try (var service = new FakeService(0, null);
        var client = connect(service);
        var run = client.runStreamed(REQUEST, SETTINGS)) {
      run.cancel("enough");
      run.updateHeaders(Map.of());
      run.answer();
      List<Arrival> calls = service.arrivals().subList(1, service.arrivals().size());
      assertEquals(3, calls.size());
      for (Arrival call : calls) {
        assertEquals(SETTINGS.requestId(), call.requestId());
        assertTrue(call.deadline().timeRemaining(TimeUnit.SECONDS) <= 10, "a run's deadline");
      }
    }
  }

  @Test
  void doesNotWaitToControlARunWhoseServiceIsGone() throws IOException {
    var service = new FakeService(0, null);
    try (var client = connect(service);
        var run = client.runStreamed(REQUEST, SETTINGS)) {
      service.close();
      List<Executable> calls =
          List.of(() -> run.cancel("enough"), () -> run.updateHeaders(Map.of()), run::answer);
      for (Executable call : calls) {
        var e = assertThrows(RunwrightException.class, call);
        assertEquals(Status.Code.UNAVAILABLE, e.code());
      }
    }
  }

  private static RunwrightClient connect(FakeService service) {
    var channel = Grpc.newChannelBuilder(service.target(), InsecureChannelCredentials.create());
    return new RunwrightClient(channel, RetryPolicy.DEFAULT);
  }
}
