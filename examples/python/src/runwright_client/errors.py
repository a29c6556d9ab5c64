"""What goes wrong with a run, as the service tells it."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runwright.v1.run_pb2 import AuthChallenge, RunProgress

_DOMAIN = "runwright.dev"
_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True)
class Violation:
    """A field of the request that is wrong."""

    field: str
    description: str
    reason: str


@dataclass(eq=False)
class RunwrightError(Exception):
    """A call that failed, with all that its details say.

    `reason` is the name of an `ErrorReason` without its prefix. It is empty where the failure is
    not the service's own: the connection broke, or a proxy answered.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    request_id: str = ""
    run_id: str = ""
    # Whether the run began. False: nothing ran and no upstream was asked. None: nobody knows.
    admitted: bool | None = None
    tool_calls_started: int = 0
    violations: tuple[Violation, ...] = ()
    challenge: AuthChallenge | None = None
    # It holds what users and models said, so it is not shown.
    progress: RunProgress | None = field(default=None, repr=False)
    # How long to wait before the next attempt, in seconds. None: not told.
    retry_delay: float | None = None
    # The server forbids another attempt: a negative or broken `grpc-retry-pushback-ms`.
    retry_forbidden: bool = False

    def __post_init__(self) -> None:
        """Gives `Exception` its arguments; without them there would be no way to pickle it."""
        super().__init__(self.code, self.message)

    def __str__(self) -> str:
        """What happened, in a line."""
        return f"{self.code.name} {self.reason}: {self.message}"

    @property
    def may_repeat(self) -> bool:
        """Whether the same request may be sent again by a machine.

        UNAVAILABLE alone is not enough. Without the service's ErrorInfo the connection may have
        broken in mid-run, when tools had acted. With `admitted` true no tool was called, but a
        model may have been asked and paid for; the service forbids machines to repeat that.
        ABORTED is never repeated: a tool call had begun.
        """
        return (
            self.code is grpc.StatusCode.UNAVAILABLE
            and self.admitted is False
            and not self.retry_forbidden
        )

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> "RunwrightError":
        """Reads gRPC's error, its details and trailers included."""
        details = _Details(error.trailing_metadata())
        known = details.find(ErrorInfo)
        info = known if known and known.domain == _DOMAIN else ErrorInfo()
        metadata = info.metadata
        bad_request = details.find(BadRequest) or BadRequest()
        delay, forbidden = _retry(details)
        return cls(
            code=error.code(),
            message=error.details() or "",
            reason=info.reason,
            request_id=metadata.get("request_id", ""),
            run_id=metadata.get("run_id", ""),
            admitted={"true": True, "false": False}.get(metadata.get("admitted", "")),
            tool_calls_started=_count(metadata.get("tool_calls_started", "")),
            violations=tuple(
                Violation(wrong.field, wrong.description, wrong.reason)
                for wrong in bad_request.field_violations
            ),
            challenge=details.find(AuthChallenge),
            progress=details.find(RunProgress),
            retry_delay=delay,
            retry_forbidden=forbidden,
        )


class _Details:
    """The details of an error: `google.rpc.Status` in a binary trailer."""

    def __init__(self, trailers: grpc.aio.Metadata) -> None:
        self.trailers = trailers
        self._status = Status()
        encoded = trailers.get("grpc-status-details-bin")
        if isinstance(encoded, bytes):
            try:
                self._status.ParseFromString(encoded)
            except DecodeError:
                self._status.Clear()

    def find(self, kind: type[_M]) -> _M | None:
        """The first detail of a kind that can be read."""
        for detail in self._status.details:
            message = kind()
            with suppress(DecodeError):
                if detail.Unpack(message):
                    return message
        return None


def _count(text: str) -> int:
    """A number of things; 0 if it is none."""
    try:
        return int(text)
    except ValueError:
        return 0


def _retry(details: _Details) -> tuple[float | None, bool]:
    """The longer of the two waits that a server can ask for; whether it forbids to try again."""
    delays: list[float] = []
    if (info := details.find(RetryInfo)) is not None:
        delays.append(info.retry_delay.ToTimedelta().total_seconds())
    pushback = details.trailers.get("grpc-retry-pushback-ms")
    if pushback is not None:
        # What is no number means, as a negative one does: do not try again (gRFC A6).
        if not isinstance(pushback, str) or not pushback.isdecimal():
            return None, True
        delays.append(int(pushback) / 1000)
    return max(delays, default=None), False
