package dev.runwright.client;

import dev.runwright.v1.AgentServiceGrpc;
import dev.runwright.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import dev.runwright.v1.RunRequest;
import dev.runwright.v1.RunResponse;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** Runs agents over one HTTP/2 connection. It may be used by many threads. */
public final class RunwrightClient implements AutoCloseable {
  private static final Metadata.Key<String> REQUEST_ID =
      Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

  /**
   * The service pings a silent connection every 30 s itself. The client's own pings notice a server
   * that is gone without a word, so that a run in a long tool call does not wait for its deadline.
   * The service takes any number of pings; proxies in between may not, so idle connections are left
   * alone.
   */
  private static final Duration PING_INTERVAL = Duration.ofSeconds(30);

  private static final Duration PING_TIMEOUT = Duration.ofSeconds(10);
  private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(5);

  private final ManagedChannel channel;
  private final AgentServiceBlockingStub agents;
  private final AgentServiceBlockingStub controls;
  private final RetryPolicy retryPolicy;

  /**
   * Makes a client; it connects with the first run.
   *
   * @param channel where the service is and how to be secure, e.g. {@code
   *     Grpc.newChannelBuilder("dns:///runwright:50051", TlsChannelCredentials.create())}
   */
  public RunwrightClient(ManagedChannelBuilder<?> channel, RetryPolicy retryPolicy) {
    this.channel =
        channel
            .keepAliveTime(PING_INTERVAL.toSeconds(), TimeUnit.SECONDS)
            .keepAliveTimeout(PING_TIMEOUT.toSeconds(), TimeUnit.SECONDS)
            .keepAliveWithoutCalls(false)
            // Control calls must reach the instance that holds the run, over the connection that
            // the run came by.
            // pick_first keeps to one connection for as long as that lives; with round_robin, which
            // a DNS record may ask
            // for, a control call could go to another instance. To spread load over instances, have
            // several clients, or a
            // proxy in front.
            .defaultLoadBalancingPolicy("pick_first")
            // Such a record could ask for gRPC's own retries, too: RetryPolicy says what is wrong
            // with them. Without it,
            // gRPC repeats a call only if it surely never arrived.
            .disableServiceConfigLookUp()
            .build();
    // A run waits, until its deadline, for a service that restarts. So UNAVAILABLE is either the
    // service's own word or
    // that of a connection that broke under the run.
    this.agents = AgentServiceGrpc.newBlockingStub(this.channel).withWaitForReady();
    // A control call does not wait: its run is gone with the connection that it came by.
    this.controls = AgentServiceGrpc.newBlockingStub(this.channel);
    this.retryPolicy = retryPolicy;
  }

  /**
   * Runs an agent and answers when it has ended.
   *
   * @throws RunwrightException if the run fails
   */
  public RunResponse run(RunRequest request, CallSettings settings) {
    return send(settings, () -> runs(settings).run(request));
  }

  /**
   * Runs an agent and gives the run when it has begun. Closing it ends the run.
   *
   * @throws RunwrightException if the run is refused
   */
  public StreamedRun runStreamed(RunRequest request, CallSettings settings) {
    // Once the first event is here the run was admitted, and is never sent again.
    return send(
        settings, () -> StreamedRun.open(runs(settings), identified(controls, settings), request));
  }

  /** Ends the connection, and all runs that are live on it. */
  @Override
  public void close() {
    channel.shutdownNow();
    try {
      channel.awaitTermination(CLOSE_TIMEOUT.toSeconds(), TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private AgentServiceBlockingStub runs(CallSettings settings) {
    return identified(agents, settings).withDeadline(settings.deadline());
  }

  private static AgentServiceBlockingStub identified(
      AgentServiceBlockingStub stub, CallSettings settings) {
    Metadata metadata = new Metadata();
    metadata.put(REQUEST_ID, settings.requestId());
    return stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
  }

  /** Makes a call as often as the policy allows. */
  private <T> T send(CallSettings settings, Supplier<T> call) {
    for (int attempts = 1; ; attempts++) {
      try {
        return call.get();
      } catch (StatusRuntimeException e) {
        RunwrightException failure = RunwrightException.of(e);
        Optional<Duration> wait = retryPolicy.next(attempts, failure);
        if (wait.isEmpty() || !sleeps(wait.get(), settings)) {
          throw failure;
        }
      }
    }
  }

  /**
   * Sleeps for a time, unless the run's is over by then: its caller is told of the failure at once.
   */
  private static boolean sleeps(Duration wait, CallSettings settings) {
    if (settings.deadline().timeRemaining(TimeUnit.NANOSECONDS) <= wait.toNanos()) {
      return false;
    }
    try {
      TimeUnit.NANOSECONDS.sleep(wait.toNanos());
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }
}
