"""A client of Runwright: runs, streamed runs, and what goes wrong in them."""

from runwright_client.channel import open_channel
from runwright_client.client import Client, HeaderProvider, RunStream, bearer
from runwright_client.errors import RunwrightError, Violation
from runwright_client.retry import RetryPolicy

__all__ = [
    "Client",
    "HeaderProvider",
    "RetryPolicy",
    "RunStream",
    "RunwrightError",
    "Violation",
    "bearer",
    "open_channel",
]
