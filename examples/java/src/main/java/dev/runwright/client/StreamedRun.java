package dev.runwright.client;

import dev.runwright.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import dev.runwright.v1.CancelRunRequest;
import dev.runwright.v1.HeaderSet;
import dev.runwright.v1.InputAnswer;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunRequest;
import dev.runwright.v1.RunStarted;
import dev.runwright.v1.SubmitRunInputRequest;
import dev.runwright.v1.UpdateRunHeadersRequest;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * A run that says what happens while it does: its events, to be read once, from {@code run_started}
 * to {@code run_completed}, or to a {@link RunwrightException}. A reader that takes no event for 30
 * s has its run ended.
 *
 * <p>Control calls go over the connection that the run came by, to the instance that holds it; they
 * may be made while another thread reads the events.
 */
public final class StreamedRun implements Iterable<RunEvent>, AutoCloseable {
  /** A control call's own deadline: the service answers at once. */
  private static final Duration CONTROL_TIMEOUT = Duration.ofSeconds(10);

  private final AgentServiceBlockingStub controls;
  private final Context.CancellableContext call;
  private final Events events;
  private final String id;
  private final RunStarted started;

  private StreamedRun(
      AgentServiceBlockingStub controls, Context.CancellableContext call, Events events) {
    this.controls = controls;
    this.call = call;
    this.events = events;
    this.id = events.next.getRunId();
    this.started = events.next.getRunStarted();
  }

  /** Starts a run and waits for its first event. */
  static StreamedRun open(
      AgentServiceBlockingStub agents, AgentServiceBlockingStub controls, RunRequest request) {
    Context.CancellableContext call = Context.current().withCancellation();
    Context before = call.attach();
    try {
      return new StreamedRun(controls, call, new Events(agents.runStreamed(request)));
    } catch (RuntimeException | Error e) {
      call.close();
      throw e;
    } finally {
      call.detach(before);
    }
  }

  /**
   * The run's id. It is logged; what controls a run is a token, which only this stream was told.
   */
  public String id() {
    return id;
  }

  /** The request id of the run's {@link CallSettings}. */
  public String requestId() {
    return started.getRequestId();
  }

  /** Names the process that holds the run. */
  public String instance() {
    return started.getInstance();
  }

  /** The events that were not read yet. */
  @Override
  public Iterator<RunEvent> iterator() {
    return events;
  }

  /**
   * Ends the run for a reason that its reader is told: the events end with ABORTED, RUN_CANCELLED.
   */
  public void cancel(String reason) {
    var request =
        CancelRunRequest.newBuilder().setRunId(id).setControlToken(started.getControlToken());
    checked(() -> control().cancelRun(request.setReason(reason).build()));
  }

  /**
   * Replaces the run's headers for the servers that are named: in answer to {@code
   * credentials_required}, or before a token expires.
   */
  public void updateHeaders(Map<String, HeaderSet> headers) {
    var request =
        UpdateRunHeadersRequest.newBuilder()
            .setRunId(id)
            .setControlToken(started.getControlToken());
    checked(() -> control().updateRunHeaders(request.putAllPerRunMcpHeaders(headers).build()));
  }

  /**
   * Answers {@code approval_required} and {@code client_tool_required} events: all of the answers
   * are taken or none.
   */
  public void answer(InputAnswer... answers) {
    var request =
        SubmitRunInputRequest.newBuilder().setRunId(id).setControlToken(started.getControlToken());
    checked(() -> control().submitRunInput(request.addAllAnswers(List.of(answers)).build()));
  }

  /** Ends the run if it is live. */
  @Override
  public void close() {
    call.cancel(null);
  }

  private AgentServiceBlockingStub control() {
    return controls.withDeadlineAfter(CONTROL_TIMEOUT.toSeconds(), TimeUnit.SECONDS);
  }

  private static <T> T checked(Supplier<T> call) {
    try {
      return call.get();
    } catch (StatusRuntimeException e) {
      throw RunwrightException.of(e);
    }
  }

  /** The events of a call. */
  private static final class Events implements Iterator<RunEvent> {
    private final Iterator<RunEvent> received;
    private RunEvent next;
    private boolean isCompleted;

    Events(Iterator<RunEvent> received) {
      this.received = received;
      this.next = receive();
    }

    @Override
    public boolean hasNext() {
      if (next == null && !isCompleted) {
        next = checked(this::receive);
      }
      return next != null;
    }

    @Override
    public RunEvent next() {
      if (!hasNext()) {
        throw new NoSuchElementException("the run was completed");
      }
      RunEvent event = next;
      next = null;
      return event;
    }

    /**
     * The next event. A stream that says OK before the run has ended is an error: no run ends so,
     * but a proxy may.
     */
    private RunEvent receive() {
      if (!received.hasNext()) {
        throw Status.INTERNAL
            .withDescription("the stream ended before the run did")
            .asRuntimeException();
      }
      RunEvent event = received.next();
      if (event.hasRunCompleted()) {
        isCompleted = true;
        receiveStatus();
      }
      return event;
    }

    /**
     * Reads the status behind the last event, or a call that went well would look cancelled in
     * traces.
     */
    private void receiveStatus() {
      try {
        received.hasNext();
      } catch (StatusRuntimeException e) {
        // The run is completed all the same.
      }
    }
  }
}
