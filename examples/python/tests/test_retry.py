"""What is sent again, how often and how soon."""

from contextlib import suppress

import grpc
import pytest

from runwright.v1.agent_service_pb2 import RunRequest
from runwright.v1.headers_pb2 import HeaderSet
from runwright_client import Client, RetryPolicy, RunwrightError, open_channel
from runwright_example.fake import FakeService, Refusal, serving

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
OVERLOADED = Refusal(UNAVAILABLE, "OVERLOADED", admitted=False)


async def no_headers() -> dict[str, HeaderSet]:
    return {}


async def attempts(refusals: list[Refusal], timeout: float = 10.0) -> int:
    service = FakeService(refusals)
    async with serving(service) as address, open_channel(address) as channel:
        client = Client(channel, RetryPolicy(max_attempts=3, initial_backoff=0.001))
        with suppress(RunwrightError):
            await client.run(RunRequest(), no_headers, timeout=timeout)
    return len(service.request_ids)


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (OVERLOADED, 3),
        (Refusal(UNAVAILABLE, "OVERLOADED", admitted=False, retry_after_ms=1), 3),
        (Refusal(UNAVAILABLE, "OVERLOADED", admitted=False, pushback_ms="1"), 3),
        (Refusal(UNAVAILABLE, "OVERLOADED", admitted=False, pushback_ms="-1"), 1),
        (Refusal(UNAVAILABLE, "OVERLOADED", admitted=False, pushback_ms="soon"), 1),
        (Refusal(UNAVAILABLE, "MODEL_UNAVAILABLE", admitted=True), 1),
        (Refusal(UNAVAILABLE, "", admitted=False, domain="proxy.example.com"), 1),
        (Refusal(grpc.StatusCode.ABORTED, "MCP_UNAVAILABLE", admitted=True), 1),
    ],
)
async def test_only_what_surely_did_not_run_is_sent_again(refusal: Refusal, expected: int) -> None:
    assert await attempts([refusal] * 5) == expected


async def test_a_stream_is_sent_again_until_it_has_begun_and_then_never() -> None:
    service = FakeService([OVERLOADED], breaks=OVERLOADED)
    events = []

    async def stream() -> None:
        async with (
            serving(service) as address,
            open_channel(address) as channel,
            Client(channel).run_streamed(RunRequest(), no_headers, timeout=10.0) as run,
        ):
            async for event in run:
                events.append(event.WhichOneof("event"))

    with pytest.raises(RunwrightError, match="OVERLOADED"):
        await stream()
    assert events == ["run_started"]
    assert len(service.request_ids) == 2


async def test_a_wait_that_the_deadline_does_not_allow_is_not_begun() -> None:
    later = Refusal(UNAVAILABLE, "OVERLOADED", admitted=False, retry_after_ms=60_000)
    assert await attempts([later], timeout=5.0) == 1


def test_what_the_server_asks_for_is_the_least_wait() -> None:
    error = RunwrightError(UNAVAILABLE, "", admitted=False, retry_delay=2.0)
    delay = RetryPolicy(initial_backoff=0.5).delay(1, error)
    assert delay is not None
    assert 2.0 <= delay <= 2.5
