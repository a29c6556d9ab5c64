"""LiteLLM's proxy, which the tests run as `python server.py`:

It serves `config.yaml` on a free port of loopback, says which as uvicorn does (`running on http://…`), and ends with its
standard input. Its upstream and the keys come in the environment: UPSTREAM_URL, UPSTREAM_KEY, MASTER_KEY.
"""

import os
import secrets
import sys
import threading
from pathlib import Path

from litellm.proxy._types import ProxyErrorTypes, ProxyException, UserAPIKeyAuth
from litellm.proxy.proxy_cli import run_server
from starlette.requests import Request


async def authenticate(_: Request, api_key: str) -> UserAPIKeyAuth:
    """Refuses all but the master key as LiteLLM does with a database: without one its own check answers 400."""
    if secrets.compare_digest(api_key, os.environ["MASTER_KEY"]):
        return UserAPIKeyAuth(api_key=api_key)
    message = "Authentication Error, Invalid proxy server token passed."
    raise ProxyException(message, type=ProxyErrorTypes.token_not_found_in_db, param="key", code=401)


def end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


# LiteLLM loads this file again, for `authenticate`.
if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    config = Path(__file__).with_name("config.yaml")
    run_server(["--config", str(config), "--host", "127.0.0.1", "--port", "0"])
