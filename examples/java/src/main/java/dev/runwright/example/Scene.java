package dev.runwright.example;

import dev.runwright.client.CallSettings;
import dev.runwright.client.RunwrightClient;
import dev.runwright.client.RunwrightException;
import java.time.Duration;
import java.util.Locale;

/** Shows one thing, and fails if it does not go as it should. */
interface Scene {
  /** The MCP server that the demo's agents use. */
  String SHOP = "shop";

  /** The demo's runs take no time; with a model and tools one may well take minutes. */
  Duration TIMEOUT = Duration.ofSeconds(30);

  void play(RunwrightClient client) throws Exception;

  default String name() {
    return getClass().getSimpleName().toLowerCase(Locale.ROOT);
  }

  /** What goes with a run: a deadline, and a request id. */
  default CallSettings settings() {
    return CallSettings.within(TIMEOUT);
  }

  /** What a run fails with, which it must. */
  default RunwrightException failure(Runnable run) {
    try {
      run.run();
    } catch (RunwrightException e) {
      return e;
    }
    throw new IllegalStateException("the run did not fail");
  }

  /** Fails the scene unless all is well. */
  default void check(boolean isWell, String problem, Object... values) {
    if (!isWell) {
      throw new IllegalStateException(problem.formatted(values));
    }
  }
}
