"""When a run that was refused is sent again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from runwright_client.errors import RunwrightError

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how soon. Times are in seconds.

    gRPC's own retries (a service config) heed pushback, but see the status code alone: neither
    `admitted` nor RetryInfo. A run is nothing to repeat on a guess, so this loop does it. gRPC
    still repeats, unasked, what never left the process or was refused unseen; that is safe.
    """

    max_attempts: int = 4
    initial_backoff: float = 0.1
    max_backoff: float = 5.0
    multiplier: float = 2.0

    def delay(self, attempt: int, error: RunwrightError) -> float | None:
        """How long to wait after a failed attempt, counted from 1; None: do not try again."""
        if attempt >= self.max_attempts or not error.may_repeat:
            return None
        backoff = min(self.max_backoff, self.initial_backoff * self.multiplier ** (attempt - 1))
        # Full jitter on our own wait. What the server asks for is a least, so jitter comes on top.
        jitter = random.uniform(0, backoff)  # noqa: S311
        return jitter if error.retry_delay is None else error.retry_delay + jitter

    async def call(self, attempt: Callable[[float], Awaitable[_T]], timeout: float) -> _T:
        """Calls `attempt` with the deadline of all attempts and waits, on the loop's clock."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        number = 1
        while True:
            try:
                return await attempt(deadline)
            except RunwrightError as error:
                delay = self.delay(number, error)
                if delay is None or clock() + delay >= deadline:
                    raise
            await asyncio.sleep(delay)
            number += 1
