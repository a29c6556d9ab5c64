"""Shows every scene; fails if one does not go as it should."""

import asyncio
import os
import sys

from opentelemetry import trace

from runwright_client import Client, open_channel
from runwright_example import telemetry
from runwright_example.scenes import SCENES

_TARGET = "127.0.0.1:50051"


async def show() -> bool:
    """Whether all went well. Scenes share one channel, as all of a backend's requests do."""
    tracer = trace.get_tracer("runwright_example")
    async with open_channel(os.environ.get("RUNWRIGHT_TARGET", _TARGET)) as channel:
        client = Client(channel)
        for scene in SCENES:
            name = scene.__name__
            try:
                with tracer.start_as_current_span(f"example.{name}", kind=trace.SpanKind.CLIENT):
                    await scene(client)
            except Exception as error:
                print(f"failed: {name}: {error}", file=sys.stderr)
                return False
            print(f"ok: {name}", flush=True)
    return True


def main() -> None:
    """Ends with 0 only if all went well."""
    provider = telemetry.install()
    well = asyncio.run(show())
    provider.shutdown()
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
