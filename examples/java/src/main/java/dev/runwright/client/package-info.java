/**
 * A client of Runwright for backends: a connection with the right keepalive, runs that are retried
 * only where that is safe, streamed runs with their control calls, and exceptions with what the
 * service told of a failure.
 *
 * <p>Requests and answers are those of the generated package {@code dev.runwright.v1}; nothing is
 * wrapped that need not be. Requests hold their callers' credentials: never log one.
 */
package dev.runwright.client;
