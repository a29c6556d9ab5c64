"""The connection to the service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from opentelemetry.instrumentation.grpc import aio_client_interceptors

_OPTIONS = [
    # A ping after 30 s in which nothing came, while calls are open. The service takes any pace of
    # pings, but proxies in front of it may not, and most take this one.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A streamed run's client sends nothing for minutes, and must still be able to ping.
    ("grpc.http2.max_pings_without_data", 0),
    # What is sent again is for `RetryPolicy` to say, and not for a service config from DNS.
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
]


def open_channel(target: str) -> grpc.aio.Channel:
    """Opens a plaintext channel to `host:port`; with TLS it would be `grpc.aio.secure_channel`.

    Share one channel among all callers of the process. gRPC for Python keeps one HTTP/2 connection
    per channel (`pick_first`), so that control calls reach the instance that holds a streamed run.
    That is not so with `round_robin`, or over a second channel with other options. It makes another
    once the service has said that the first one ends (GOAWAY). The service waits with that for a
    moment in which no run of the connection is live, until that is twice
    `server.max_connection_age` old (an hour).

    The interceptors make a client span for each call and put its `traceparent` into the metadata.
    """
    return grpc.aio.insecure_channel(
        target, options=_OPTIONS, interceptors=[*aio_client_interceptors(), _CancelUnary()]
    )


class _CancelUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Ends the RPC, and so the run, when the task that waits for its answer is cancelled.

    OpenTelemetry's interceptor waits for the status in the caller's task. gRPC then sees that wait
    cancelled, but not the call; so this one, the innermost, cancels the call.
    """

    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [grpc.aio.ClientCallDetails, Any], Awaitable[grpc.aio.UnaryUnaryCall[Any, Any]]
        ],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401
    ) -> grpc.aio.UnaryUnaryCall[Any, Any]:
        """Waits for the status."""
        call = await continuation(client_call_details, request)
        try:
            await call.code()
        except asyncio.CancelledError:
            call.cancel()
            raise
        return call
