package dev.runwright.example;

import dev.runwright.client.TokenSource;

/**
 * Users' tokens. A backend asks its identity provider here, or its store of users' tokens, and gets
 * another one each time that the last is about to expire.
 */
final class Tokens {
  private Tokens() {}

  static TokenSource of(String user) {
    return () -> user + "-demo-token";
  }
}
