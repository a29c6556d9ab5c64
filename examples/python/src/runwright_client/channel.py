"""The connection to the service."""

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
        target, options=_OPTIONS, interceptors=aio_client_interceptors()
    )
