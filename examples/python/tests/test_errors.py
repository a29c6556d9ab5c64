"""What is read of an error, however it is made."""

import pickle

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runwright.v1.run_pb2 import RunProgress
from runwright_client import RunwrightError


def error_of(info: ErrorInfo, *others: Any) -> RunwrightError:
    packed = Any()
    packed.Pack(info)
    status = Status(details=[*others, packed])
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    unavailable = grpc.StatusCode.UNAVAILABLE
    return RunwrightError.of(grpc.aio.AioRpcError(unavailable, grpc.aio.Metadata(), trailers))


def test_a_detail_that_cannot_be_read_is_passed_over() -> None:
    broken = [
        Any(type_url=f"type.googleapis.com/{kind.DESCRIPTOR.full_name}", value=b"\xff")
        for kind in (ErrorInfo, RetryInfo, RunProgress)
    ]
    error = error_of(ErrorInfo(domain="runwright.dev", reason="OVERLOADED"), *broken)
    assert error.reason == "OVERLOADED"
    assert error.retry_delay is None
    assert error.progress is None


def test_a_reason_needs_no_metadata() -> None:
    error = error_of(ErrorInfo(domain="runwright.dev", reason="OVERLOADED"))
    assert error.reason == "OVERLOADED"
    assert error.admitted is None
    assert error_of(ErrorInfo(domain="proxy.example.com", reason="OVERLOADED")).reason == ""


def test_metadata_that_is_no_number_counts_as_none() -> None:
    metadata = {"tool_calls_started": "some", "admitted": "perhaps"}
    error = error_of(ErrorInfo(domain="runwright.dev", reason="OVERLOADED", metadata=metadata))
    assert error.tool_calls_started == 0
    assert error.admitted is None


def test_an_error_can_be_pickled_and_does_not_show_what_was_said() -> None:
    progress = RunProgress(turns=7)
    error = RunwrightError(
        code=grpc.StatusCode.ABORTED, message="gone", reason="R", progress=progress
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert isinstance(copy, RunwrightError)
    assert (copy.code, copy.message, copy.reason) == (error.code, "gone", "R")
    assert copy.progress == progress
    assert error.args == (grpc.StatusCode.ABORTED, "gone")
    assert "turns" not in repr(error)
