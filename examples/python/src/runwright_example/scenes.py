"""What a backend does with runs, a function each. All but the last need `make demo SERVE=1`."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping

import grpc.aio

from runwright.v1.agent_service_pb2 import (
    ApprovalAnswer,
    InputAnswer,
    OnUnauthorized,
    RunOptions,
    RunRequest,
)
from runwright.v1.event_pb2 import RunEvent
from runwright.v1.headers_pb2 import HeaderSet
from runwright.v1.run_pb2 import FinishReason, PendingInput
from runwright_client import Client, RunStream, RunwrightError, bearer, open_channel
from runwright_example.fake import FakeService, Refusal, serving
from runwright_example.tokens import fresh_token, shop_headers

TIMEOUT = 20.0
QUESTION = RunRequest(agent="support", input="Who am I, and what have I ordered?")
CANCEL_ORDER = RunRequest(agent="orders", input="Please cancel my order #1001.")
AWAIT_DELIVERY = RunRequest(agent="deliveries", input="Tell me when my orders are here.")


class SceneError(Exception):
    """Something is not as it should be."""


def expect(condition: bool, what: object) -> None:
    """Fails the scene unless the condition holds."""
    if not condition:
        raise SceneError(f"unexpected: {what}")


async def failure_of(work: Awaitable[object]) -> RunwrightError:
    """The error of what is to fail."""
    try:
        answer = await work
    except RunwrightError as error:
        return error
    raise SceneError(f"should have failed: {answer}")


async def unary(client: Client) -> None:
    """Two users at once through one agent; each run has its own token, deadline and request id."""

    async def ask(user: str, name: str) -> None:
        request_id = f"{user}-{uuid.uuid4()}"
        answer = await client.run(
            QUESTION, shop_headers(user), timeout=TIMEOUT, request_id=request_id
        )
        expect(name in answer.final_output, answer.final_output)
        expect(answer.request_id == request_id, answer.request_id)

    async with asyncio.TaskGroup() as runs:
        runs.create_task(ask("alice", "Alice"))
        runs.create_task(ask("bob", "Bob"))


async def streamed(client: Client) -> None:
    """Text as it is said. `RunStream` has an eye on gaps in the sequence."""
    last = RunEvent()
    async with client.run_streamed(QUESTION, shop_headers("alice"), timeout=TIMEOUT) as run:
        async for event in run:
            if event.WhichOneof("event") == "text_delta":
                print(event.text_delta.text, end="", flush=True)
            last = event
    print()
    expect("Alice" in last.run_completed.final_output, last)


async def cancelled(client: Client) -> None:
    """A run that ends in the middle of a tool call, once by its RPC and once by CancelRun."""
    headers = shop_headers("alice")
    async with client.run_streamed(AWAIT_DELIVERY, headers, timeout=TIMEOUT) as run:
        await until(run, "tool_call_started")
        # Leaving the block cancels the RPC, and with it the run and its call of the tool.

    async with client.run_streamed(AWAIT_DELIVERY, headers, timeout=TIMEOUT) as run:
        await until(run, "tool_call_started")
        await run.cancel("the user closed the page")
        error = await failure_of(drain(run))
    expect(error.code is grpc.StatusCode.ABORTED and error.reason == "RUN_CANCELLED", error)
    expect(error.tool_calls_started == 1, error.tool_calls_started)
    expect(error.progress is not None and error.progress.turns == 1, error.progress)


async def refused(client: Client) -> None:
    """A server's name with a typo: all that is wrong comes at once, and nothing ran."""

    async def misspelt() -> Mapping[str, HeaderSet]:
        return bearer("shopp", await fresh_token("alice"))

    error = await failure_of(client.run(QUESTION, misspelt, timeout=TIMEOUT))
    expect(error.code is grpc.StatusCode.INVALID_ARGUMENT, error)
    expect(error.reason == "UNKNOWN_MCP_SERVER" and error.admitted is False, error)
    fields = [violation.field for violation in error.violations]
    expect(fields == ['per_run_mcp_headers["shopp"]'], fields)


async def unauthorized(client: Client) -> None:
    """An expired token. The challenge says which server refused it, and why."""
    error = await failure_of(client.run(QUESTION, shop_headers("expired"), timeout=TIMEOUT))
    expect(error.code is grpc.StatusCode.FAILED_PRECONDITION, error)
    expect(error.reason == "MCP_UNAUTHORIZED", error)
    expect(error.admitted is True and error.tool_calls_started == 0, error)
    challenge = error.challenge
    expect(challenge is not None and challenge.mcp_server == "shop", challenge)
    expect(challenge is not None and challenge.error == "invalid_token", challenge)


async def refreshed(client: Client) -> None:
    """The same token, but the run waits for another one, and goes on with it."""
    request = RunRequest()
    request.CopyFrom(QUESTION)
    request.options.CopyFrom(RunOptions(on_unauthorized=OnUnauthorized.ON_UNAUTHORIZED_WAIT))
    last = RunEvent()
    asked = 0
    async with client.run_streamed(request, shop_headers("expired"), timeout=TIMEOUT) as run:
        async for event in run:
            if event.WhichOneof("event") == "credentials_required":
                asked += 1
                server = event.credentials_required.credentials.mcp_server
                await run.update_headers(bearer(server, await fresh_token("alice")))
            last = event
    expect(asked == 1 and "Alice" in last.run_completed.final_output, last)


async def approved(client: Client) -> None:
    """A tool that asks first. A stream waits for the answer; of unary runs another goes on."""
    headers = shop_headers("alice")
    last = RunEvent()
    async with client.run_streamed(CANCEL_ORDER, headers, timeout=TIMEOUT) as run:
        async for event in run:
            if event.WhichOneof("event") == "approval_required":
                await run.submit([approve(event.approval_required)])
            last = event
    expect("is cancelled" in last.run_completed.final_output, last)

    first = await client.run(CANCEL_ORDER, headers, timeout=TIMEOUT)
    expect(first.finish_reason == FinishReason.FINISH_REASON_AWAITING_INPUT, first)
    expect(first.pending[0].approval.tool == "cancel_order", first)
    goes_on = RunRequest(
        agent=CANCEL_ORDER.agent,
        messages=[*CANCEL_ORDER.messages, *first.new_messages],
        answers=[approve(pending) for pending in first.pending],
    )
    second = await client.run(goes_on, headers, timeout=TIMEOUT)
    expect("is cancelled" in second.final_output, second)


async def retried(_: Client) -> None:
    """What is sent again and what is not, against a service that refuses as it is told."""
    unavailable = grpc.StatusCode.UNAVAILABLE
    overloaded = Refusal(unavailable, "OVERLOADED", admitted=False, retry_after_ms=50)
    service = FakeService([overloaded, overloaded])
    async with serving(service) as address, open_channel(address) as channel:
        answer = await Client(channel).run(QUESTION, shop_headers("alice"), timeout=TIMEOUT)
    expect(answer.final_output == "done", answer)
    expect(len(service.request_ids) == 3 and len(set(service.request_ids)) == 1, service)

    service = FakeService(
        [Refusal(unavailable, "MODEL_RATE_LIMITED", admitted=True, pushback_ms="-1")]
    )
    async with serving(service) as address, open_channel(address) as channel:
        run = Client(channel).run(QUESTION, shop_headers("alice"), timeout=TIMEOUT)
        error = await failure_of(run)
    expect(error.reason == "MODEL_RATE_LIMITED" and len(service.request_ids) == 1, service)


def approve(pending: PendingInput) -> InputAnswer:
    """The user's yes."""
    return InputAnswer(input_id=pending.input_id, approval=ApprovalAnswer(approved=True))


async def until(run: RunStream, kind: str) -> RunEvent:
    """The first event of a kind."""
    async for event in run:
        if event.WhichOneof("event") == kind:
            return event
    raise SceneError(f"no event {kind} came")


async def drain(run: RunStream) -> RunEvent | None:
    """Takes all events; gives the last."""
    last = None
    async for event in run:
        last = event
    return last


SCENES: list[Callable[[Client], Awaitable[None]]] = [
    unary,
    streamed,
    cancelled,
    refused,
    unauthorized,
    refreshed,
    approved,
    retried,
]
