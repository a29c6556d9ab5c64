"""A service that refuses as it is told, to see what the retry policy does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runwright.v1.agent_service_pb2 import RunRequest
from runwright.v1.run_pb2 import RunResponse


@dataclass
class Refusal:
    """An error with its details and trailers."""

    code: grpc.StatusCode
    reason: str
    admitted: bool
    retry_after_ms: int | None = None
    pushback_ms: str | None = None
    domain: str = "runwright.dev"

    def trailers(self) -> grpc.aio.Metadata:
        """What the service sends beside the code."""
        info = ErrorInfo(
            reason=self.reason,
            domain=self.domain,
            metadata={"admitted": str(self.admitted).lower()},
        )
        details: list[Message] = [info]
        if self.retry_after_ms is not None:
            wait = Duration()
            wait.FromMilliseconds(self.retry_after_ms)
            details.append(RetryInfo(retry_delay=wait))
        status = Status(code=self.code.value[0], message="refused")
        for detail in details:
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
        if self.pushback_ms is not None:
            trailers.add("grpc-retry-pushback-ms", self.pushback_ms)
        return trailers


@dataclass
class FakeService:
    """Refuses once for each refusal, then answers."""

    refusals: list[Refusal]
    request_ids: list[str] = field(default_factory=list)

    async def run(
        self, _: RunRequest, context: grpc.aio.ServicerContext[RunRequest, RunResponse]
    ) -> RunResponse:
        """Notes the attempt's request id."""
        metadata = dict(context.invocation_metadata() or ())
        self.request_ids.append(str(metadata["x-request-id"]))
        if self.refusals:
            refusal = self.refusals.pop(0)
            context.set_trailing_metadata(refusal.trailers())
            await context.abort(refusal.code, "refused")
        return RunResponse(final_output="done")


@asynccontextmanager
async def serving(service: FakeService) -> AsyncIterator[str]:
    """Serves on a free port; gives its address."""
    server = grpc.aio.server()
    run = grpc.unary_unary_rpc_method_handler(
        service.run,
        request_deserializer=RunRequest.FromString,
        response_serializer=RunResponse.SerializeToString,
    )
    agents = grpc.method_handlers_generic_handler("runwright.v1.AgentService", {"Run": run})
    server.add_generic_rpc_handlers((agents,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
