"""A service that refuses as it is told, to see what the retry policy does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runwright.v1.agent_service_pb2 import RunRequest
from runwright.v1.event_pb2 import RunEvent, RunStarted
from runwright.v1.run_pb2 import RunResponse

_Answer = TypeVar("_Answer")


@dataclass
class Refusal:
    """An error with its details and trailers."""

    code: grpc.StatusCode
    reason: str
    admitted: bool
    retry_after_ms: int | None = None
    pushback_ms: str | None = None
    domain: str = "runwright.dev"

    async def end(self, context: grpc.aio.ServicerContext[RunRequest, _Answer]) -> None:
        """Ends a call with it."""
        context.set_trailing_metadata(self.trailers())
        await context.abort(self.code, "refused")

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
    """Refuses once for each refusal, then answers. Streams begin then, and end with `breaks`."""

    refusals: list[Refusal]
    breaks: Refusal | None = None
    request_ids: list[str] = field(default_factory=list)

    async def run(
        self, _: RunRequest, context: grpc.aio.ServicerContext[RunRequest, RunResponse]
    ) -> RunResponse:
        """Refuses or answers."""
        await self._attempt(context)
        return RunResponse(final_output="done")

    async def run_streamed(
        self, _: RunRequest, context: grpc.aio.ServicerContext[RunRequest, RunEvent]
    ) -> AsyncIterator[RunEvent]:
        """Refuses, or begins."""
        await self._attempt(context)
        yield RunEvent(run_id="run", sequence=1, run_started=RunStarted())
        if self.breaks:
            await self.breaks.end(context)

    async def _attempt(self, context: grpc.aio.ServicerContext[RunRequest, _Answer]) -> None:
        """Notes the attempt's request id, and refuses it if it is to be."""
        metadata = dict(context.invocation_metadata() or ())
        self.request_ids.append(str(metadata["x-request-id"]))
        if self.refusals:
            await self.refusals.pop(0).end(context)


@asynccontextmanager
async def serving(service: FakeService) -> AsyncIterator[str]:
    """Serves on a free port; gives its address."""
    server = grpc.aio.server()
    run = grpc.unary_unary_rpc_method_handler(
        service.run,
        request_deserializer=RunRequest.FromString,
        response_serializer=RunResponse.SerializeToString,
    )
    run_streamed = grpc.unary_stream_rpc_method_handler(
        service.run_streamed,
        request_deserializer=RunRequest.FromString,
        response_serializer=RunEvent.SerializeToString,
    )
    agents = grpc.method_handlers_generic_handler(
        "runwright.v1.AgentService", {"Run": run, "RunStreamed": run_streamed}
    )
    server.add_generic_rpc_handlers((agents,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
