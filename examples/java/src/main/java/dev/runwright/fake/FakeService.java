package dev.runwright.fake;

import com.google.protobuf.Any;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import dev.runwright.v1.AgentServiceGrpc.AgentServiceImplBase;
import dev.runwright.v1.CancelRunRequest;
import dev.runwright.v1.CancelRunResponse;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunRequest;
import dev.runwright.v1.RunResponse;
import dev.runwright.v1.RunStarted;
import dev.runwright.v1.SubmitRunInputRequest;
import dev.runwright.v1.SubmitRunInputResponse;
import dev.runwright.v1.UpdateRunHeadersRequest;
import dev.runwright.v1.UpdateRunHeadersResponse;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

/**
 * A service on a free port that refuses the first runs that it is sent and answers all others, for
 * what the real one can't be made to do at will.
 */
public final class FakeService implements AutoCloseable {
  /**
   * A call that came.
   *
   * @param nanos when, by {@link System#nanoTime}
   * @param requestId its `x-request-id`
   * @param deadline null if it has none
   */
  public record Arrival(long nanos, String requestId, Deadline deadline) {}

  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> REQUEST_ID =
      Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

  private final List<Arrival> arrivals = new CopyOnWriteArrayList<>();
  private final int refuse;
  private final StatusRuntimeException refusal;
  private final Server server;

  /** Starts a service that refuses so many runs. */
  public FakeService(int refuse, StatusRuntimeException refusal) throws IOException {
    this.refuse = refuse;
    this.refusal = refusal;
    this.server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(new Agents())
            .intercept(new Admission())
            .build()
            .start();
  }

  /** A refusal before anything ran. */
  public static StatusRuntimeException overloaded(Duration retryAfter) {
    return unavailable("OVERLOADED", "false", retryAfter, new Metadata());
  }

  /** A run that failed after it was admitted, and that no client may repeat by itself. */
  public static StatusRuntimeException modelUnavailable() {
    Metadata trailers = new Metadata();
    trailers.put(PUSHBACK, "-1");
    return unavailable("MODEL_UNAVAILABLE", "true", Duration.ZERO, trailers);
  }

  /** Where it is. */
  public String target() {
    return "127.0.0.1:" + server.getPort();
  }

  /** The calls that came, refused ones included. */
  public List<Arrival> arrivals() {
    return arrivals;
  }

  /** Ends it, and waits until its connections are closed: until then it would cancel what comes. */
  @Override
  public void close() {
    try {
      server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static StatusRuntimeException unavailable(
      String reason, String admitted, Duration retryAfter, Metadata trailers) {
    var info =
        ErrorInfo.newBuilder()
            .setReason(reason)
            .setDomain("runwright.dev")
            .putMetadata("admitted", admitted)
            .putMetadata("request_id", "request");
    var delay =
        com.google.protobuf.Duration.newBuilder()
            .setSeconds(retryAfter.toSeconds())
            .setNanos(retryAfter.getNano());
    var status =
        Status.newBuilder()
            .setCode(Code.UNAVAILABLE_VALUE)
            .setMessage("try again")
            .addDetails(Any.pack(info.build()))
            .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
    return StatusProto.toStatusRuntimeException(status.build(), trailers);
  }

  /** Notes what comes, and refuses it or not. */
  private final class Admission implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
      arrivals.add(
          new Arrival(System.nanoTime(), headers.get(REQUEST_ID), Context.current().getDeadline()));
      if (arrivals.size() > refuse) {
        return next.startCall(call, headers);
      }
      Metadata trailers = refusal.getTrailers() == null ? new Metadata() : refusal.getTrailers();
      call.close(refusal.getStatus(), trailers);
      return new ServerCall.Listener<>() {};
    }
  }

  private static final class Agents extends AgentServiceImplBase {
    private static final RunResponse DONE = RunResponse.newBuilder().setFinalOutput("done").build();

    @Override
    public void run(RunRequest request, StreamObserver<RunResponse> answer) {
      answer.onNext(DONE);
      answer.onCompleted();
    }

    @Override
    public void runStreamed(RunRequest request, StreamObserver<RunEvent> events) {
      RunStarted started = RunStarted.newBuilder().setControlToken("token").build();
      events.onNext(
          RunEvent.newBuilder().setRunId("run").setSequence(1).setRunStarted(started).build());
      events.onNext(
          RunEvent.newBuilder().setRunId("run").setSequence(2).setRunCompleted(DONE).build());
      events.onCompleted();
    }

    @Override
    public void cancelRun(CancelRunRequest request, StreamObserver<CancelRunResponse> answer) {
      answer.onNext(CancelRunResponse.getDefaultInstance());
      answer.onCompleted();
    }

    @Override
    public void updateRunHeaders(
        UpdateRunHeadersRequest request, StreamObserver<UpdateRunHeadersResponse> answer) {
      answer.onNext(UpdateRunHeadersResponse.getDefaultInstance());
      answer.onCompleted();
    }

    @Override
    public void submitRunInput(
        SubmitRunInputRequest request, StreamObserver<SubmitRunInputResponse> answer) {
      answer.onNext(SubmitRunInputResponse.getDefaultInstance());
      answer.onCompleted();
    }
  }
}
