package dev.runwright.example;

import dev.runwright.client.RetryPolicy;
import dev.runwright.client.RunwrightClient;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.context.Context;
import java.util.List;
import java.util.Optional;

/**
 * Shows what a backend does with Runwright, scene by scene, against the service of {@code make demo
 * SERVE=1}. It exits with 0 only if all scenes went as they should. Arguments are the scenes to
 * play; none: all.
 *
 * <p>{@code RUNWRIGHT_TARGET} is where the service is. With {@code OTEL_EXPORTER_OTLP_ENDPOINT}
 * spans are exported there.
 */
final class Main {
  private static final String DEFAULT_TARGET = "127.0.0.1:50051";

  private static final List<Scene> SCENES =
      List.of(
          new Unary(),
          new Streamed(),
          new Cancelled(),
          new Refused(),
          new Unauthorized(),
          new Refreshed(),
          new Approved(),
          new Retried());

  private Main() {}

  public static void main(String[] arguments) {
    try {
      play(List.of(arguments));
    } catch (Exception e) {
      System.err.println(e.getMessage());
      System.exit(1);
    }
  }

  private static void play(List<String> names) throws Exception {
    String target = Optional.ofNullable(System.getenv("RUNWRIGHT_TARGET")).orElse(DEFAULT_TARGET);
    // For a service on the same host. Elsewhere there is TLS: TlsChannelCredentials.
    var channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create());
    try (var tracing = new Tracing();
        var client =
            new RunwrightClient(channel.intercept(tracing.interceptor()), RetryPolicy.DEFAULT)) {
      for (Scene scene : SCENES) {
        if (names.isEmpty() || names.contains(scene.name())) {
          play(scene, client, tracing);
          System.out.println("ok: " + scene.name());
        }
      }
    }
  }

  private static void play(Scene scene, RunwrightClient client, Tracing tracing) throws Exception {
    Span span =
        tracing.spanBuilder("example." + scene.name()).setSpanKind(SpanKind.CLIENT).startSpan();
    try {
      Context.current()
          .with(span)
          .wrap(
              () -> {
                scene.play(client);
                return null;
              })
          .call();
    } catch (Exception e) {
      span.setStatus(StatusCode.ERROR, "the scene failed");
      throw new Exception(scene.name() + ": " + e.getMessage(), e);
    } finally {
      span.end();
    }
  }
}
