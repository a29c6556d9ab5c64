"""Runs, unary and streamed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
import grpc.aio

from runwright.v1.agent_service_pb2 import (
    CancelRunRequest,
    InputAnswer,
    RunRequest,
    SubmitRunInputRequest,
    UpdateRunHeadersRequest,
)
from runwright.v1.agent_service_pb2_grpc import AgentServiceStub
from runwright.v1.event_pb2 import RunEvent
from runwright.v1.headers_pb2 import HeaderSet
from runwright.v1.run_pb2 import RunResponse
from runwright_client.errors import RunwrightError
from runwright_client.retry import RetryPolicy

if TYPE_CHECKING:
    from runwright.v1.agent_service_pb2_grpc import AgentServiceAsyncStub

_T = TypeVar("_T")

HeaderProvider = Callable[[], Awaitable[Mapping[str, HeaderSet]]]
"""Gives a run's headers by MCP server. It is asked before each attempt: tokens grow old."""

_CONTROL_TIMEOUT = 10.0


def bearer(server: str, token: str) -> dict[str, HeaderSet]:
    """The headers that show a token to one MCP server."""
    return {server: HeaderSet(headers={"authorization": f"Bearer {token}"})}


class Client:
    """A client over a channel that it does not own. Many runs may share it."""

    def __init__(self, channel: grpc.aio.Channel, retry: RetryPolicy | None = None) -> None:
        self._agents: AgentServiceAsyncStub = AgentServiceStub(channel)
        self._retry = retry or RetryPolicy()

    async def run(
        self,
        request: RunRequest,
        headers: HeaderProvider,
        *,
        timeout: float,
        request_id: str | None = None,
    ) -> RunResponse:
        """Runs an agent. Cancelling the task cancels the run.

        `timeout`, in seconds, holds for all attempts together, and is the run's deadline.
        """
        metadata = _metadata(request_id)

        async def attempt(deadline: float) -> RunResponse:
            complete = await _with_headers(request, headers, deadline)
            remaining = deadline - asyncio.get_running_loop().time()
            return await _typed(
                self._agents.Run(
                    complete, timeout=remaining, metadata=metadata, wait_for_ready=True
                )
            )

        return await self._retry.call(attempt, timeout)

    @asynccontextmanager
    async def run_streamed(
        self,
        request: RunRequest,
        headers: HeaderProvider,
        *,
        timeout: float,
        request_id: str | None = None,
    ) -> AsyncIterator["RunStream"]:
        """Runs an agent and gives its events. Leaving the block cancels what has not ended.

        It is sent again only while no event has come: a run that began is never repeated.
        """
        metadata = _metadata(request_id)

        async def attempt(deadline: float) -> RunStream:
            complete = await _with_headers(request, headers, deadline)
            remaining = deadline - asyncio.get_running_loop().time()
            call = self._agents.RunStreamed(
                complete, timeout=remaining, metadata=metadata, wait_for_ready=True
            )
            return await RunStream.begin(self._agents, call)

        stream = await self._retry.call(attempt, timeout)
        try:
            yield stream
        finally:
            stream.abandon()


class RunStream:
    """The events of a live run, and the calls that steer it, over the stream's own connection."""

    def __init__(
        self,
        agents: "AgentServiceAsyncStub",
        call: grpc.aio.UnaryStreamCall[RunRequest, RunEvent],
        first: RunEvent,
    ) -> None:
        self._agents = agents
        self._call = call
        self._events = aiter(call)
        self._first: RunEvent | None = first
        self._sequence = 0
        self._completed = False
        self.run_id = first.run_id
        self.request_id = first.run_started.request_id
        # A capability: whoever has it steers the run. Do not log it.
        self._control_token = first.run_started.control_token

    @classmethod
    async def begin(
        cls, agents: "AgentServiceAsyncStub", call: grpc.aio.UnaryStreamCall[RunRequest, RunEvent]
    ) -> Self:
        """Waits for the first event, which is always `run_started`."""
        first = await _typed(anext(aiter(call), None))
        if first is None or first.WhichOneof("event") != "run_started":
            call.cancel()
            raise RuntimeError("a stream begins with run_started")
        return cls(agents, call, first)

    def __aiter__(self) -> Self:
        """The events, from the first."""
        return self

    async def __anext__(self) -> RunEvent:
        """The next event. The last is `run_completed`; a run that fails raises instead."""
        event, self._first = self._first, None
        if event is None:
            event = await _typed(anext(self._events, None))
        if event is None:
            if self._completed:
                raise StopAsyncIteration
            raise RuntimeError("the stream ended without run_completed")
        self._sequence += 1
        if event.sequence != self._sequence:
            raise RuntimeError(f"event {self._sequence} is missing: {event.sequence} came")
        self._completed = event.WhichOneof("event") == "run_completed"
        return event

    def abandon(self) -> None:
        """Ends the RPC, and so the run, if it has not ended. Nothing waits for that."""
        self._call.cancel()

    async def cancel(self, reason: str) -> None:
        """Ends the run with a reason; its stream then ends with RUN_CANCELLED."""
        request = CancelRunRequest(
            run_id=self.run_id, control_token=self._control_token, reason=reason
        )
        await _typed(self._agents.CancelRun(request, timeout=_CONTROL_TIMEOUT))

    async def update_headers(self, headers: Mapping[str, HeaderSet]) -> None:
        """Replaces the run's headers for the named servers, as `credentials_required` asks for."""
        request = UpdateRunHeadersRequest(
            run_id=self.run_id, control_token=self._control_token, per_run_mcp_headers=headers
        )
        await _typed(self._agents.UpdateRunHeaders(request, timeout=_CONTROL_TIMEOUT))

    async def submit(self, answers: Iterable[InputAnswer]) -> None:
        """Answers `approval_required` and `client_tool_required`."""
        request = SubmitRunInputRequest(
            run_id=self.run_id, control_token=self._control_token, answers=answers
        )
        await _typed(self._agents.SubmitRunInput(request, timeout=_CONTROL_TIMEOUT))


def _metadata(request_id: str | None) -> grpc.aio.Metadata:
    """The request's id, which stays the same when it is sent again."""
    return grpc.aio.Metadata(("x-request-id", request_id or str(uuid.uuid4())))


async def _with_headers(
    request: RunRequest, headers: HeaderProvider, deadline: float
) -> RunRequest:
    """The request with its headers. The deadline holds while they are made, too."""
    complete = RunRequest()
    complete.CopyFrom(request)
    try:
        async with asyncio.timeout_at(deadline) as limit:
            found = await headers()
    except TimeoutError as error:
        # The provider may have a timeout of its own, and its own word on that.
        if not limit.expired():
            raise
        code = grpc.StatusCode.DEADLINE_EXCEEDED
        raise RunwrightError(code, "the headers took too long", admitted=False) from error
    for server, header_set in found.items():
        complete.per_run_mcp_headers[server].CopyFrom(header_set)
    return complete


async def _typed(call: Awaitable[_T]) -> _T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise RunwrightError.of(error) from error
