// Package runwright is a client of Runwright for backends: a connection with the right keepalive, runs that are retried only
// where that is safe, streamed runs with their control calls, and errors with what the service told of them.
//
// Requests and answers are those of the generated package runwrightv1; nothing is wrapped that need not be. Requests hold
// their callers' credentials: never log one.
package runwright
