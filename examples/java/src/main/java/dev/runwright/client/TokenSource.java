package dev.runwright.client;

import dev.runwright.v1.HeaderSet;
import java.util.Map;

/** Gives one user's token, and a new one when the last is about to expire. */
@FunctionalInterface
public interface TokenSource {
  /** A token that is valid now. */
  String token();

  /**
   * Asks for a token and gives the headers that bring it to one MCP server. Call it for each run:
   * the service keeps nothing from one run to the next.
   */
  default Map<String, HeaderSet> bearer(String mcpServer) {
    HeaderSet set = HeaderSet.newBuilder().putHeaders("authorization", "Bearer " + token()).build();
    return Map.of(mcpServer, set);
  }
}
