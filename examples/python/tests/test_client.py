"""How runs end before their time."""

import asyncio
from dataclasses import dataclass, field

import grpc
import pytest

from runwright.v1.agent_service_pb2 import RunRequest
from runwright.v1.headers_pb2 import HeaderSet
from runwright.v1.run_pb2 import RunResponse
from runwright_client import Client, RunwrightError, open_channel
from runwright_example.fake import FakeService, serving


async def no_headers() -> dict[str, HeaderSet]:
    return {}


async def endless_headers() -> dict[str, HeaderSet]:
    await asyncio.Event().wait()
    return {}


@dataclass
class EndlessService(FakeService):
    """Answers no run."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(
        self, _: RunRequest, context: grpc.aio.ServicerContext[RunRequest, RunResponse]
    ) -> RunResponse:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return RunResponse()


async def test_cancelling_the_task_of_a_run_cancels_the_run() -> None:
    service = EndlessService([])
    async with serving(service) as address, open_channel(address) as channel:
        run = asyncio.create_task(Client(channel).run(RunRequest(), no_headers, timeout=60.0))
        await service.began.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        # The channel is still open: it is not its end that the service sees.
        async with asyncio.timeout(10):
            await service.cancelled.wait()


async def test_a_stream_that_ends_without_its_last_event_raises() -> None:
    async with (
        serving(FakeService([])) as address,
        open_channel(address) as channel,
        Client(channel).run_streamed(RunRequest(), no_headers, timeout=10.0) as run,
    ):
        assert (await anext(run)).WhichOneof("event") == "run_started"
        with pytest.raises(RuntimeError, match="run_completed"):
            await anext(run)


async def test_the_deadline_holds_while_headers_are_made() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(RunwrightError) as raised:
            await Client(channel).run(RunRequest(), endless_headers, timeout=0.01)
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert raised.value.admitted is False
